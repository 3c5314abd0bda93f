// A worker in miniature on Phoenix's own client: claims a run, reads its input, lives on heartbeats, completes it.
// usage: node worker.mjs <phoenix-1.7|phoenix-1.8> <ws endpoint>
// Prints one JSON object of what it saw; exits 1 on the first surprise.
import WebSocket from 'ws';

const [client, endpoint] = process.argv.slice(2);
const { Socket } = await import(client);

const HEARTBEATS = 3;

const answered = (push, what) =>
  new Promise((resolve, reject) => {
    push
      .receive('ok', resolve)
      .receive('error', response => reject(new Error(`${what}: ${JSON.stringify(response)}`)))
      .receive('timeout', () => reject(new Error(`${what}: timeout`)));
  });

const socket = new Socket(endpoint, {
  params: { token: 'any' },
  transport: WebSocket,
  heartbeatIntervalMs: 50,
  timeout: 10_000,
});
let closed = 0;
socket.onClose(() => (closed += 1));

let heartbeats = 0;
let enoughHeartbeats;
const kept = new Promise(resolve => (enoughHeartbeats = resolve));
socket.onMessage(message => {
  if (message.topic === 'phoenix' && message.payload.status === 'ok') {
    heartbeats += 1;
    if (heartbeats === HEARTBEATS) enoughHeartbeats();
  }
  return message;
});
socket.connect();

const queue = socket.channel('worker:queue', { capacity: 1, queues: { 'manual>*': 1 } });
const announced = new Promise(resolve => queue.on('work-available', resolve));
await answered(queue.join(), 'join of the queue');
const claim = { demand: 1, worker_name: null, queues: ['manual', '*'] };
const { runs } = await answered(queue.push('claim', claim), 'claim');

const { id, token } = runs[0];
const run = socket.channel(`run:${id}`, { token });
await answered(run.join(), 'join of the run');
const plan = await answered(run.push('fetch:plan', {}), 'fetch:plan');
const data = await answered(run.push('fetch:dataclip', { id: plan.dataclip_id }), 'fetch:dataclip');
const binary = data instanceof ArrayBuffer;
const input = JSON.parse(new TextDecoder().decode(data));
await answered(run.push('run:start', { versions: {} }), 'run:start');
await kept;
await answered(run.push('run:complete', { reason: 'success', final_state: input }), 'run:complete');
const closing = new Promise(resolve => run.onClose(resolve));
await answered(run.leave(), 'leave');
await closing;
await announced;

console.log(JSON.stringify({ id, plan: plan.id, binary, input, closed }));
process.exit(0);
