// A screen that a guest prints on: lines of text with styles.
//
// It knows the control sequences that shells, busybox and curses programs send to a plain VT100: carriage return,
// backspace, tab, colours, moving the cursor, erasing. Others are recognised and skipped, so that they do not show as
// rubbish. Lines are as long as the guest makes them; the browser wraps them. No DOM in here: views draw `lines`.

const ROWS = 24; // for programs that address the screen by row
const KEEP = 2000; // lines; what scrolls off further is gone from the screen, not from the kernel
const WIDEST = 4096; // characters; a longer line continues on the next

// Text | CSI parameters, intermediate, final | OSC and other strings | other escapes | control characters
const TOKEN =
  /([^\x00-\x1f\x7f-\x9f]+)|\x1b\[([0-?]*)([ -/]*)([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b([ -/]*[0-OQ-WYZ\\`-~])|([\x00-\x1a\x1c-\x1f\x7f-\x9f])/y;
const BEGINNING = /^\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)$/; // of a sequence whose end is still to come
const UNFINISHED = 4096; // characters; a sequence longer than this is none

export class Screen {
  constructor() {
    this.clock = 0; // counts changes: a view redraws the lines whose stamp is new to it
    this.reset();
  }

  /** Forget everything. */
  reset() {
    this.lines = [this.blank()];
    this.row = 0;
    this.column = 0;
    this.top = 0; // the line that programs call row 1
    this.gone = 0; // lines that scrolled off for good
    this.pen = {};
    this.style = "";
    this.saved = [0, 0];
    this.pending = "";
  }

  blank() {
    return { text: "", styles: null, stamp: ++this.clock };
  }

  /** Print text as a guest sent it; a control sequence may arrive in pieces. */
  feed(text) {
    text = this.pending + text;
    this.pending = "";
    TOKEN.lastIndex = 0;
    for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
      const token = TOKEN.exec(text);
      if (token === null) {
        const rest = text.slice(at, at + UNFINISHED);
        if (rest.length < UNFINISHED && BEGINNING.test(rest)) {
          this.pending = rest;
          return;
        }
        TOKEN.lastIndex = at + 1;
      } else if (token[1] !== undefined) {
        this.put(token[1]);
      } else if (token[4] !== undefined) {
        if (token[3] === "") this.sequence(token[2], token[4]);
      } else if (token[5] !== undefined) {
        this.escape(token[5]);
      } else if (token[6] !== undefined) {
        this.control(token[6]);
      }
    }
  }

  /** Print a remark of the lab's own, on a line by itself. */
  remark(text) {
    if (this.lines[this.row].text !== "") this.newline();
    const style = this.style;
    this.style = "remark";
    this.put(text);
    this.style = style;
    this.newline();
  }

  put(text) {
    while (this.column + text.length > WIDEST) {
      const room = Math.max(0, WIDEST - this.column);
      this.write(text.slice(0, room));
      text = text.slice(room);
      this.newline();
    }
    this.write(text);
  }

  write(text) {
    const line = this.touched();
    const end = this.column + text.length;
    line.text = line.text.padEnd(this.column).slice(0, this.column) + text + line.text.slice(end);
    if (this.style !== "" && line.styles === null) line.styles = [];
    if (line.styles !== null) for (let n = this.column; n < end; n++) line.styles[n] = this.style;
    this.column = end;
  }

  touched() {
    const line = this.lines[this.row];
    line.stamp = ++this.clock;
    return line;
  }

  newline() {
    // A lone line feed also returns: nobody wants the staircase.
    this.column = 0;
    this.move(this.row + 1, 0);
  }

  /** Put the cursor somewhere, adding lines as needed. */
  move(row, column) {
    this.row = Math.max(this.top, row);
    this.column = Math.min(Math.max(0, column), WIDEST - 1);
    while (this.lines.length <= this.row) this.lines.push(this.blank());
    this.top = Math.max(this.top, this.row - ROWS + 1);
    const excess = this.lines.length - KEEP;
    if (excess > 0) {
      this.lines.splice(0, excess);
      this.row -= excess;
      this.top = Math.max(0, this.top - excess);
      this.gone += excess;
    }
  }

  within(row) {
    return Math.min(row, this.top + ROWS - 1);
  }

  control(character) {
    if (character === "\n" || character === "\v" || character === "\f") this.newline();
    else if (character === "\r") this.column = 0;
    else if (character === "\b") this.column = Math.max(0, this.column - 1);
    else if (character === "\t") this.move(this.row, (this.column & ~7) + 8);
  }

  escape(sequence) {
    if (sequence === "7") this.saved = [this.row - this.top, this.column];
    else if (sequence === "8") this.move(this.within(this.top + this.saved[0]), this.saved[1]);
    else if (sequence === "c") this.clear(0, this.top), this.move(this.top, 0), this.colour([0]);
    else if (sequence === "M") this.move(this.row - 1, this.column);
  }

  sequence(parameters, final) {
    if (/[<=>?]/.test(parameters)) return; // private modes: cursor shape, mouse, alternate screen
    const numbers = parameters.split(/[;:]/).map((word) => Math.min(Number(word) || 0, WIDEST));
    const count = Math.max(1, numbers[0]);
    if (final === "m") this.colour(numbers);
    else if (final === "A") this.move(this.row - count, this.column);
    else if (final === "B" || final === "e") this.move(this.within(this.row + count), this.column);
    else if (final === "C" || final === "a") this.move(this.row, this.column + count);
    else if (final === "D") this.move(this.row, this.column - count);
    else if (final === "E") this.move(this.within(this.row + count), 0);
    else if (final === "F") this.move(this.row - count, 0);
    else if (final === "G" || final === "`") this.move(this.row, count - 1);
    else if (final === "d") this.move(this.within(this.top + count - 1), this.column);
    else if (final === "H" || final === "f")
      this.move(this.within(this.top + count - 1), Math.max(1, numbers[1] || 1) - 1);
    else if (final === "J") this.eraseScreen(numbers[0]);
    else if (final === "K") this.eraseLine(numbers[0]);
    else if (final === "P") this.splice(count, 0);
    else if (final === "@") this.splice(0, count);
    else if (final === "X") this.blankOut(count);
    else if (final === "s") this.escape("7");
    else if (final === "u") this.escape("8");
  }

  eraseLine(what) {
    const line = this.touched();
    if (what === 1 || what === 2) {
      line.text = " ".repeat(Math.min(this.column + 1, line.text.length)) + line.text.slice(this.column + 1);
      if (line.styles !== null) line.styles.fill("", 0, this.column + 1);
    }
    if (what === 0 || what === 2) {
      line.text = line.text.slice(0, what === 2 ? 0 : this.column);
      if (line.styles !== null) line.styles.length = Math.min(line.styles.length, line.text.length);
    }
  }

  eraseScreen(what) {
    this.eraseLine(what === 3 ? -1 : what);
    if (what === 0) this.clear(this.row + 1, this.top);
    else if (what === 1) this.clear(this.top, this.top, this.row);
    else if (what === 2) this.clear(0, this.top);
  }

  /** Empty lines [first, end), none above the top of the screen. */
  clear(first, top, end = this.lines.length) {
    for (let row = Math.max(first, top); row < end; row++) this.lines[row] = this.blank();
  }

  /** At the cursor, take characters out of the line and put spaces in. */
  splice(remove, insert) {
    const line = this.touched();
    line.text = line.text.padEnd(this.column);
    if (line.styles !== null) {
      line.styles.length = Math.max(line.styles.length, this.column);
      line.styles.splice(this.column, remove, ...Array(insert).fill(""));
    }
    const rest = line.text.slice(this.column + remove);
    line.text = (line.text.slice(0, this.column) + " ".repeat(insert) + rest).slice(0, WIDEST);
  }

  blankOut(count) {
    const column = this.column;
    this.write(" ".repeat(Math.min(count, WIDEST - column)));
    this.column = column;
  }

  /** Select Graphic Rendition: the pen that the next text is written with, kept as a list of CSS classes. */
  colour(numbers) {
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at];
      const pen = this.pen;
      if (number === 0) this.pen = {};
      else if (number === 1) pen.bold = true;
      else if (number === 2) pen.dim = true;
      else if (number === 3) pen.italic = true;
      else if (number === 4) pen.underline = true;
      else if (number === 7) pen.inverse = true;
      else if (number === 22) pen.bold = pen.dim = false;
      else if (number === 23) pen.italic = false;
      else if (number === 24) pen.underline = false;
      else if (number === 27) pen.inverse = false;
      else if (number >= 30 && number <= 37) pen.ink = number - 30;
      else if (number >= 40 && number <= 47) pen.paper = number - 40;
      else if (number >= 90 && number <= 97) pen.ink = number - 82;
      else if (number >= 100 && number <= 107) pen.paper = number - 92;
      else if (number === 39) delete pen.ink;
      else if (number === 49) delete pen.paper;
      else if (number === 38 || number === 48) {
        // Of the 256 colours the sixteen with names are drawn; of the others only the length is known here.
        const named = numbers[at + 1] === 5 && numbers[at + 2] < 16;
        if (named) pen[number === 38 ? "ink" : "paper"] = numbers[at + 2];
        at += numbers[at + 1] === 5 ? 2 : 4;
      }
    }
    this.style = classes(this.pen);
  }
}

function classes(pen) {
  let ink = pen.ink === undefined ? "" : `ink${pen.ink}`;
  let paper = pen.paper === undefined ? "" : `paper${pen.paper}`;
  if (pen.inverse) [ink, paper] = [`ink${pen.paper ?? "-paper"}`, `paper${pen.ink ?? "-ink"}`];
  const flags = ["bold", "dim", "italic", "underline"].filter((flag) => pen[flag]);
  return [ink, paper, ...flags].filter((name) => name !== "").join(" ");
}

/** Cut a line into pieces of one style: [[text, classes], ...]. */
export function pieces(line) {
  if (line.styles === null) return [[line.text, ""]];
  const found = [];
  for (let start = 0, end; start < line.text.length; start = end) {
    const style = line.styles[start] ?? "";
    for (end = start + 1; end < line.text.length && (line.styles[end] ?? "") === style; end++);
    found.push([line.text.slice(start, end), style]);
  }
  return found;
}
