package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"

	"github.com/gocarrier/carrier/carriertest"
)

// pty is a terminal with a screen that is looked at as bytes.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	mu   sync.Mutex
	seen strings.Builder
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var locked, n int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&locked))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&n))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	p := &pty{t: t, master: master, slave: slave}
	p.size(80)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.mu.Unlock()
		}
	}()
	return p
}

func ioctl(t *testing.T, f *os.File, request uintptr, p unsafe.Pointer) {
	t.Helper()
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(p)); err != 0 {
		t.Fatal(err)
	}
}

func (p *pty) size(columns uint16) {
	p.t.Helper()
	size := [4]uint16{24, columns} // and no pixels
	ioctl(p.t, p.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

func (p *pty) keys(s string) {
	p.t.Helper()
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// shows waits until what was seen since the last call matches.
func (p *pty) shows(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		seen := p.seen.String()
		if at := re.FindStringIndex(seen); at != nil {
			p.seen.Reset()
			p.seen.WriteString(seen[at[1]:])
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if time.Now().After(late) {
			p.t.Fatalf("the terminal does not show %s but %q", pattern, seen)
		}
	}
}

// TestTerminal: on a terminal of the kernel's, a line that is being typed stays as
// it is while things are shown, and the terminal is given back as it was.
func TestTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Node("Bo\u202eb")
	n.Befriend(alice, bob)
	p := openPTY(t)
	before, err := term.GetState(int(p.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if !isTerminal(p.slave) {
		t.Fatal("not a terminal")
	}
	tty, err := openTerminal(p.slave, p.slave, alice)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.close()
	p.shows(`Your address.*\r\n` + alice.Address().String() + `\r\n`)

	lines := make(chan string)
	go func() {
		defer close(lines)
		for {
			line, err := tty.read()
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	p.shows("> $")
	p.keys("half a")
	p.shows("half a$")
	show := func(e event) {
		t.Helper()
		if err := tty.show(e); err != nil {
			t.Fatal(err)
		}
	}
	show(failed{"msg", errors.New("\x1b[2Jevil")})
	p.shows(`\r\x1b\[J/msg: \\x1b\[2Jevil\r\n> half a$`)
	tr := &transfer{name: "f.bin"}
	show(progress{file: tr, done: 50, size: 100})
	p.shows(`\r\x1b\[J\[={10} {10}\]  50 % f.bin > half a$`)
	show(talking{friendOf(t, alice.Friend, bob.ID())})
	p.shows(`50 % f.bin .*Bo\\u202eb \(.{8}…\)> half a$`)
	show(progress{file: tr, over: true})
	p.shows(`\r\x1b\[JBo\\u202eb \(.{8}…\)> half a$`)
	p.size(40)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	p.shows(`> half a`)
	p.keys(" line\r")
	if got := <-lines; got != "half a line" {
		t.Errorf("the line is %q", got)
	}
	p.keys("\x1b[A\r") // from the history
	if got := <-lines; got != "half a line" {
		t.Errorf("the line from the history is %q", got)
	}
	p.keys("abc\x03")
	if _, more := <-lines; more {
		t.Error("Ctrl-C is not the end")
	}
	tty.close()
	tty.close()
	if after, err := term.GetState(int(p.slave.Fd())); err != nil || fmt.Sprint(*after) != fmt.Sprint(*before) {
		t.Errorf("the terminal is left as %+v, %v, and was %+v", after, err, before)
	}
	show(done("after the end"))
	p.shows(`\r\x1b\[Jafter the end\r\n$`)
}

// TestTerminalEnd: Ctrl-D on an empty line ends the program, status 0, and the
// terminal is given back.
func TestTerminalEnd(t *testing.T) {
	t.Parallel()
	p := openPTY(t)
	before, err := term.GetState(int(p.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	status := make(chan int, 1)
	go func() { status <- program(here(t.TempDir()), p.slave, p.slave, stderr) }()
	p.shows("> $")
	p.keys("/me\r")
	p.shows(`your ID +\w+\r\nyour address +\w+\r\n`)
	p.shows("> $")
	p.keys("\x04")
	p.shows(`quitting.*\r\n`)
	select {
	case got := <-status:
		if got != 0 {
			t.Errorf("status %d, want 0", got)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("Ctrl-D does not end the program")
	}
	if after, err := term.GetState(int(p.slave.Fd())); err != nil || fmt.Sprint(*after) != fmt.Sprint(*before) {
		t.Errorf("the terminal is left as %+v, %v, and was %+v", after, err, before)
	}
}
