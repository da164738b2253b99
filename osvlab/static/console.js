// The console of a guest under a cell: what it prints, as it prints it, and a line to type to it.
//
// Follows screen.js and stream.js in one module (osvlab/widgets/console.py joins the three): `Screen` and `pieces`, and
// `Stream` and `element` are defined there.

/** What the guest has printed: the same for all views. */
class Session extends Stream {
  restart() {
    this.screen ??= new Screen();
    this.decoder = new TextDecoder();
    this.screen.reset();
  }

  lose(count) {
    this.screen.remark(`[... ${count} bytes dropped ...]`);
    this.decoder = new TextDecoder();
  }

  take(bytes) {
    this.screen.feed(this.decoder.decode(bytes, { stream: true }));
  }
}

/** One picture of the screen. The notebook makes and drops views as cells scroll in and out. */
class View {
  constructor(session, model, root) {
    this.session = session;
    this.model = model;
    this.shown = []; // lines drawn, in order, and for each its node and the stamp it was drawn at
    this.drawn = new WeakMap();
    this.history = [];
    this.build(root);
    this.listen();
    this.refresh();
    this.draw();
  }

  build(root) {
    this.title = element("span", { class: "title" });
    this.status = element("span", { class: "status", role: "status", "aria-live": "polite" });
    this.earlier = element("div", { class: "remark" });
    this.earlier.hidden = true;
    // Read aloud while its reader types to the guest; a boot that scrolls by is not.
    this.log = element("div", { class: "screen", role: "log", tabindex: "0", "aria-live": "off" }, this.earlier);
    this.input = element("input", {
      type: "text",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      "aria-label": "Type a line to the guest; Escape leaves",
      placeholder: "type to the guest, then Enter",
    });
    this.interrupt = element("button", { type: "button", title: "Send Ctrl-C: interrupt" }, "Ctrl-C");
    this.finish = element("button", { type: "button", title: "Send Ctrl-D: end of input" }, "Ctrl-D");
    this.form = element("form", {}, this.input, element("button", { type: "submit" }, "Send"), this.interrupt, this.finish);
    this.root = element(
      "div",
      { class: "osvlab-console", role: "group", "data-lm-suppress-shortcuts": "true" },
      element("div", { class: "head" }, this.title, this.status),
      this.log,
      this.form,
    );
    root.append(this.root);
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.enter();
    });
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("focus", () => this.log.setAttribute("aria-live", "polite"));
    this.input.addEventListener("blur", () => this.log.setAttribute("aria-live", "off"));
    this.interrupt.addEventListener("click", () => this.type("\x03"));
    this.finish.addEventListener("click", () => this.type("\x04"));
    this.refresh = this.refresh.bind(this);
    for (const trait of ["title", "status", "running"]) this.model.on(`change:${trait}`, this.refresh);
  }

  enter() {
    const line = this.input.value;
    if (line !== "" && this.history.at(-1) !== line) this.history.push(line);
    this.back = 0; // how far up in the history
    this.input.value = "";
    this.type(line + "\n");
  }

  type(text) {
    this.model.send({ type: "input", text });
  }

  key(event) {
    event.stopPropagation(); // the notebook must not take them for commands
    const control = event.ctrlKey && !event.altKey && !event.metaKey;
    const selected = this.input.selectionStart !== this.input.selectionEnd;
    if (event.key === "Escape") this.log.focus();
    else if (control && event.key === "c" && !selected) this.type("\x03");
    else if (control && event.key === "d") this.type("\x04");
    else if (event.key === "ArrowUp") this.recall(1);
    else if (event.key === "ArrowDown") this.recall(-1);
    else return;
    event.preventDefault();
  }

  recall(step) {
    this.back = Math.min(Math.max(0, (this.back ?? 0) + step), this.history.length);
    this.input.value = this.back === 0 ? "" : this.history.at(-this.back);
  }

  refresh() {
    const title = this.model.get("title");
    const running = this.model.get("running");
    const typing = this.form.contains(document.activeElement);
    this.title.textContent = title;
    this.status.textContent = this.model.get("status");
    this.root.setAttribute("aria-label", title);
    this.log.setAttribute("aria-label", `${title}: what the guest prints`);
    this.root.classList.toggle("running", running);
    this.form.hidden = !running;
    if (typing && !running) this.log.focus(); // or the focus would be nowhere
  }

  draw() {
    const { screen } = this.session;
    const { log, shown } = this;
    const following = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    while (shown.length > 0 && shown[0] !== screen.lines[0]) this.drawn.get(shown.shift()).node.remove();
    screen.lines.forEach((line, number) => {
      if (shown[number] !== line) this.replace(number, line);
      const known = this.drawn.get(line);
      if (known.stamp !== line.stamp) {
        known.stamp = line.stamp;
        known.node.replaceChildren(...render(line));
      }
    });
    while (shown.length > screen.lines.length) this.drawn.get(shown.pop()).node.remove();
    this.cursor(screen);
    this.earlier.hidden = screen.gone === 0;
    if (screen.gone > 0) this.earlier.textContent = `[... ${screen.gone} earlier lines: see vm.console.text ...]`;
    if (following) log.scrollTop = log.scrollHeight;
  }

  replace(number, line) {
    const node = element("div", { class: "line" });
    if (number < this.shown.length) this.drawn.get(this.shown[number]).node.replaceWith(node);
    else this.log.append(node);
    this.shown[number] = line;
    this.drawn.set(line, { node, stamp: 0 });
  }

  cursor(screen) {
    const line = screen.lines[screen.row];
    const atEnd = screen.column >= line.text.length;
    this.marked?.classList.remove("cursor");
    this.marked = this.drawn.get(line).node;
    this.marked.classList.toggle("cursor", atEnd);
  }

  remove() {
    this.session.views.delete(this);
    for (const trait of ["title", "status", "running"]) this.model.off(`change:${trait}`, this.refresh);
  }
}

function render(line) {
  return pieces(line).map(([text, style]) => (style === "" ? text : element("span", { class: style }, text)));
}

export default widget(Session, View);
