// Entry of a worker thread, started by threads.mjs. In the engine's bundle a file
// of this name does the same with the program in one script, see bundle.mjs.

import { live } from "./run_thread.mjs";

await live();
