// The interpreter's worker as the page uses it: requests are promises, and stopping is replacing the worker.
const LIMIT = 60_000; // milliseconds after which a computation is ended

export class Stopped extends Error {}

export class Engine {
  constructor(changed) {
    this.changed = changed; // told "starting", "ready", "working" or a failure in words
    this.next = 0;
    this.start();
  }

  start() {
    this.waiting = new Map();
    this.worker = new Worker(new URL("worker.js", import.meta.url), {type: "module"});
    this.ready = new Promise((resolve, reject) => {
      this.worker.onmessage = ({data}) => {
        if (data.ready) resolve();
        else if (data.failed) reject(new Error(data.failed));
        else this.received(data);
      };
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker could not be loaded"));
    });
    this.changed("starting");
    this.ready.then(() => this.changed("ready"), (error) => this.changed(`failed: ${error.message}`));
  }

  received({id, row, answer}) {
    const one = this.waiting.get(id);
    if (!one) return;
    if (row) return one.tell(row);
    clearTimeout(one.timer);
    this.waiting.delete(id);
    if (!this.waiting.size) this.changed("ready");
    one.resolve(answer);
  }

  async ask(request, tell = () => {}) {
    const {worker} = this;
    await this.ready;
    if (worker !== this.worker) throw new Stopped("stopped");
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.stop(`stopped after ${LIMIT / 1000} seconds`), LIMIT);
      this.waiting.set(id, {resolve, reject, tell, timer});
      this.changed("working");
      this.worker.postMessage({id, request});
    });
  }

  stop(why = "stopped") {
    const {waiting} = this;
    this.worker.terminate();
    this.start();
    for (const one of waiting.values()) {
      clearTimeout(one.timer);
      one.reject(new Stopped(why));
    }
  }
}
