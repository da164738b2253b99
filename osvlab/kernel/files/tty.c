// The terminal: a line discipline on the serial console (termios(3), Linux's n_tty).
//
// Bytes arrive in the UART's interrupt, which only puts them into a small ring. A thread takes
// them out and does what a terminal does: echo, erase, signals, lines. So reading works in two
// steps, and the interrupt handler stays short.
// Invariant: read_at <= line_end <= write_at (they only grow; modulo the size they are places in
// the buffer). Cooked readers see what lies before line_end, the end of the last finished line;
// what lies behind can still be edited. Ctrl-D is stored as END_OF_FILE.

#include "tty.h"

#include "poll.h"

#include "console.h"
#include "thread.h"

#define RING_SIZE 256
#define BUFFER_SIZE 2048
#define END_OF_FILE 0x100

static struct {
    volatile u8 bytes[RING_SIZE];
    volatile u32 head, tail; // written by the interrupt; by the thread
    struct wait_queue queue;
} ring = {.queue = WAIT_QUEUE(ring.queue, "uart input")};

struct tty tty = {
    .termios =
        {
            .input = ICRNL | IXON,
            .output = OPOST | ONLCR,
            .control = CS8 | CREAD | B115200,
            .local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            .characters = {[VINTR] = 3,
                           [VQUIT] = 28,
                           [VERASE] = 127,
                           [VKILL] = 21,
                           [VEOF] = 4,
                           [VMIN] = 1,
                           [VWERASE] = 23},
        },
    .window = {.ws_row = 24, .ws_col = 80},
    .lock = SPINLOCK("tty"),
    .input = POLL_SOURCE(tty.input, "tty input"),
};

static u16 buffer[BUFFER_SIZE];
static u32 read_at, line_end, write_at;

static void receive(u8 byte) {
    if (ring.head - ring.tail < RING_SIZE) {
        ring.bytes[ring.head % RING_SIZE] = byte;
        ring.head++;
        wait_wake(&ring.queue, 1);
    }
}

// --- From the ring to the buffer; the tty's lock is held ---

// A small text to be echoed once the lock is given back.
struct echo {
    size_t length;
    char text[512];
};

static void echo_byte(struct echo *echo, char c) {
    if (echo->length < sizeof(echo->text))
        echo->text[echo->length++] = c;
}

static bool shown_with_caret(u16 c) {
    return (c < 32 && c != '\n' && c != '\t') || c == 127;
}

static void echo_character(struct echo *echo, u16 c) {
    if (!(tty.termios.local & ECHO) && !(c == '\n' && tty.termios.local & ECHONL))
        return;
    if (shown_with_caret(c) && tty.termios.local & ECHOCTL) {
        echo_byte(echo, '^');
        c ^= 64;
    }
    echo_byte(echo, (char)c);
}

static void erase_one(struct echo *echo) {
    u16 c = buffer[--write_at % BUFFER_SIZE];
    if (!(tty.termios.local & ECHO) || (c & 0xC0) == 0x80) // the inner bytes of UTF-8 take no room
        return;
    for (int width = shown_with_caret(c) ? 2 : 1; width > 0; width--) {
        echo_byte(echo, '\b');
        echo_byte(echo, ' ');
        echo_byte(echo, '\b');
    }
}

static void erase_word(struct echo *echo) {
    while (write_at != line_end && buffer[(write_at - 1) % BUFFER_SIZE] == ' ')
        erase_one(echo);
    while (write_at != line_end && buffer[(write_at - 1) % BUFFER_SIZE] != ' ')
        erase_one(echo);
}

static void erase_character(struct echo *echo) {
    bool inner;
    do {
        inner = (buffer[(write_at - 1) % BUFFER_SIZE] & 0xC0) == 0x80;
        erase_one(echo);
    } while (inner && write_at != line_end);
}

static bool is(u8 byte, int which) {
    return tty.termios.characters[which] != 0 && byte == tty.termios.characters[which];
}

// The signal that a byte stands for, or 0.
static int signal_of(u8 byte) {
    if (!(tty.termios.local & ISIG))
        return 0;
    return is(byte, VINTR) ? SIGINT : is(byte, VQUIT) ? SIGQUIT : 0;
}

static void put(u16 c) {
    // The last place is kept for the end of a line, so that a line that is too long can be ended.
    u32 room = BUFFER_SIZE - (write_at - read_at);
    if (room > (c == '\n' || c == END_OF_FILE ? 0 : 1))
        buffer[write_at++ % BUFFER_SIZE] = c;
}

// One byte goes through the discipline. Gives the signal it stands for, or 0.
static int take(u8 byte, struct echo *echo) {
    if (tty.termios.input & ISTRIP)
        byte &= 0x7F;
    if (byte == '\r' && tty.termios.input & IGNCR)
        return 0;
    if (byte == '\r' && tty.termios.input & ICRNL)
        byte = '\n';
    else if (byte == '\n' && tty.termios.input & INLCR)
        byte = '\r';
    int signal = signal_of(byte);
    if (signal != 0) {
        if (!(tty.termios.local & NOFLSH))
            read_at = line_end = write_at;
        echo_character(echo, byte);
        return signal;
    }
    if (!(tty.termios.local & ICANON)) {
        put(byte);
        line_end = write_at;
        echo_character(echo, byte);
    } else if (is(byte, VERASE) || byte == '\b') {
        if (write_at != line_end)
            erase_character(echo);
    } else if (is(byte, VWERASE) && tty.termios.local & IEXTEN) {
        erase_word(echo);
    } else if (is(byte, VKILL)) {
        while (write_at != line_end)
            erase_one(echo);
    } else if (is(byte, VEOF)) {
        put(END_OF_FILE);
        line_end = write_at;
    } else if (byte != 0) {
        put(byte);
        if (byte == '\n' || is(byte, VEOL))
            line_end = write_at;
        echo_character(echo, byte);
    }
    return 0;
}

static void tty_thread(void *unused) {
    (void)unused;
    for (;;) {
        WAIT_FOR(&ring.queue, ring.head != ring.tail, NEVER, false);
        struct echo echo = {.length = 0};
        int signal = 0;
        u64 flags = spin_lock(&tty.lock);
        while (ring.head != ring.tail && signal == 0) {
            u8 byte = ring.bytes[ring.tail % RING_SIZE];
            ring.tail++;
            signal = take(byte, &echo);
        }
        spin_unlock(&tty.lock, flags);
        if (echo.length > 0)
            uart_write(echo.text, echo.length);
        if (signal != 0)
            tty_signal(signal);
        poll_notify(&tty.input, POLLIN | POLLRDNORM);
    }
}

void tty_start(void) {
    if (thread_start("tty", tty_thread, NULL) == NULL)
        kprintf("tty: no memory for its thread: the console takes no input\n");
    else
        uart_set_receiver(receive);
}

// --- From the buffer to a reader ---

size_t tty_available(void) {
    return (tty.termios.local & ICANON ? line_end : write_at) - read_at;
}

void tty_flush(void) {
    u64 flags = spin_lock(&tty.lock);
    read_at = line_end = write_at;
    spin_unlock(&tty.lock, flags);
}

// What was typed in one mode can be read in the other.
void tty_mode_changed(void) {
    line_end = write_at;
}

// Takes up to `size` bytes, in cooked mode at most one line. *end is set when the line (or the
// input) ended, so that there is no more to take for this read.
static size_t take_out(u8 *out, size_t size, bool *end) {
    size_t done = 0;
    u64 flags = spin_lock(&tty.lock);
    *end = false;
    while (done < size && tty_available() > 0 && !*end) {
        u16 c = buffer[read_at++ % BUFFER_SIZE];
        if (c != END_OF_FILE)
            out[done++] = (u8)c;
        *end = tty.termios.local & ICANON && (c == '\n' || c == END_OF_FILE || is((u8)c, VEOL));
    }
    *end = *end || tty_available() == 0;
    spin_unlock(&tty.lock, flags);
    return done;
}

// Waits until there is something to read, by the rules of VMIN and VTIME in raw mode.
static int wait_for_input(struct file *file, size_t size) {
    size_t least = 1;
    u64 deadline = NEVER;
    if (!(tty.termios.local & ICANON)) {
        least = MIN(size, (size_t)tty.termios.characters[VMIN]);
        u8 tenths = tty.termios.characters[VTIME];
        if (tenths > 0)
            deadline = clock_monotonic() + tenths * 100 * MILLISECOND;
        if (tenths > 0 && least == 0)
            least = 1;
    }
    if (tty_available() >= least)
        return 0;
    if (file->flags & O_NONBLOCK)
        return tty_available() > 0 ? 0 : -EAGAIN;
    int status = WAIT_FOR(&tty.input.queue, tty_available() >= least, deadline, true);
    return status == -ETIMEDOUT ? 0 : status;
}

static long tty_read(struct file *file, void *user, size_t size, u64 *position) {
    (void)position;
    if (size == 0)
        return 0;
    int status = wait_for_input(file, size);
    if (status < 0)
        return status;
    size_t done = 0;
    for (bool end = false; done < size && !end;) {
        u8 piece[128];
        size_t got = take_out(piece, MIN(sizeof(piece), size - done), &end);
        if (user_write((char *)user + done, piece, got) < 0)
            return -EFAULT;
        done += got;
    }
    return (long)done;
}

static long tty_write(struct file *file, const void *user, size_t size, u64 *position) {
    (void)file, (void)position;
    for (size_t done = 0; done < size;) {
        char piece[256];
        size_t length = MIN(sizeof(piece), size - done);
        if (user_read(piece, (const char *)user + done, length) < 0)
            return done > 0 ? (long)done : -EFAULT;
        uart_write(piece, length);
        done += length;
    }
    return (long)size;
}

static unsigned tty_poll(struct file *file, struct poll_table *table) {
    (void)file;
    poll_on(table, &tty.input);
    return POLLOUT | POLLWRNORM | (tty_available() > 0 ? POLLIN | POLLRDNORM : 0);
}

const struct file_operations tty_operations = {
    .stream = true,
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .ioctl = tty_ioctl,
};
