// Takes TLS off connections and passes them on: `node tls.mjs KEY CERTIFICATE PORT`. Prints the port that it listens on.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";

const [key, certificate, port] = process.argv.slice(2);
const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (secure) => {
  const plain = connect(Number(port), "127.0.0.1");
  secure.pipe(plain).pipe(secure);
  // One side that breaks off takes the other with it.
  secure.on("error", () => plain.destroy());
  plain.on("error", () => secure.destroy());
});
// A client that does not trust the certificate is no error of this server.
server.on("tlsClientError", () => {});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
