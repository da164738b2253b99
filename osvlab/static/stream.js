// A stream of bytes from the kernel, whole and in order, whatever happens on the way.
//
// The wire: bytes come as numbered binary messages, where the number is the position of the first byte in all that ever
// was. So the page knows what it has twice and what it lacks, and asks for that. See osvlab/widgets/sender.py.

const ACK_AFTER = 250; // ms; each answer is work for the Python kernel, so one for several messages
const PATIENCE = 2000; // ms to wait for what is missing; a kernel busy with a cell cannot answer

/** What one model has received: the same for all its views, and for as long as the page lives. */
class Stream {
  // Its kinds know what the bytes are: `restart()`, `take(bytes)`, and `lose(count)` for bytes that exist no more.

  constructor(model) {
    this.model = model;
    this.views = new Set(); // each has `draw()`
    this.gapSince = null;
    this.ackTimer = null;
    this.frame = null;
    this.receive = this.receive.bind(this);
    this.begin(model.get("mirror"));
    model.on("msg:custom", this.receive);
    model.send({ type: "hello" });
  }

  /** Show what came with the widget itself; the kernel, if there is one, then sends it all. */
  begin(mirror) {
    this.next = 0;
    this.restart();
    if (mirror && mirror.data) this.put(mirror.at, bytesOf(mirror.data));
  }

  receive(message, buffers) {
    if (message.type !== "output") return;
    if (message.fresh) {
      this.begin(null);
    }
    const from = message.at - message.lost; // what lies between is gone from the kernel's memory too
    if (from > this.next) {
      const now = performance.now();
      if (this.gapSince === null) {
        this.gapSince = now;
        this.model.send({ type: "resend", from: this.next });
      }
      if (now - this.gapSince < PATIENCE) return;
    }
    this.gapSince = null;
    this.put(message.at, bytesOf(buffers[0]));
    this.ackTimer ??= setTimeout(() => {
      this.ackTimer = null;
      this.model.send({ type: "ack", at: this.next });
    }, ACK_AFTER);
    this.redraw();
  }

  put(at, bytes) {
    if (at > this.next) {
      this.lose(at - this.next);
      this.next = at;
    }
    const known = this.next - at;
    if (known < bytes.length) {
      this.take(bytes.subarray(known));
      this.next = at + bytes.length;
    }
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      for (const view of this.views) view.draw();
    });
  }

  close() {
    clearTimeout(this.ackTimer);
    cancelAnimationFrame(this.frame);
    this.model.off("msg:custom", this.receive);
  }
}

function bytesOf(data) {
  return data.buffer instanceof ArrayBuffer
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/** Make a node of the page; strings among the children become text, never markup. */
function element(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** What a widget's module exports: one stream a model, a view for each place where it is shown. */
function widget(Session, View) {
  return () => {
    let session = null;
    return {
      initialize({ model }) {
        session = new Session(model);
        return () => session.close();
      },
      render({ model, el }) {
        const view = new View(session, model, el);
        session.views.add(view);
        return () => view.remove();
      },
    };
  };
}
