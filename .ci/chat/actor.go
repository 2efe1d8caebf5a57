package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	writeLimit = 10 * time.Second // for a program to read what it is told
	dumpLimit  = 2 * time.Second  // for a program that hangs to print its goroutines
	endLimit   = 5 * time.Second  // for a program that was killed to be gone
)

// line is something that an actor was told or has said.
type line struct {
	life int // 1 is the first
	at   time.Duration
	from source
	text string
	event
}

type source string

// The sources of lines.
const (
	told   source = ">" // stdin
	said   source = " " // stdout
	warned source = "!" // stderr
	noted  source = "*" // the driver's own notes
)

// actor is a program under test, over all its lives. Its methods are for one
// goroutine, but for awaiting and reading lines.
type actor struct {
	lab  *lab
	name string
	path string
	args []string
	env  []string
	chat bool // its lines are the line protocol

	cmd   *exec.Cmd
	stdin *os.File

	mu      sync.Mutex
	lines   []line
	changed chan struct{} // closed and made anew with each line and end
	life    int
	running bool
	status  error // of the last life, when it has ended
	fault   error // the first line that is not of the protocol
}

// start begins a life.
func (a *actor) start() (err error) {
	stdin, toStdin, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(a.path, a.args...)
	cmd.Dir, cmd.Env, cmd.Stdin = a.lab.dir, a.env, stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		var stderr io.ReadCloser
		if stderr, err = cmd.StderrPipe(); err == nil {
			if err = cmd.Start(); err == nil {
				a.mu.Lock()
				a.life++
				a.running, a.status = true, nil
				a.mu.Unlock()
				a.cmd, a.stdin = cmd, toStdin
				go a.listen(cmd, stdout, stderr)
			}
		}
	}
	_ = stdin.Close() // the program has it
	if err != nil {
		_ = toStdin.Close()
		return fmt.Errorf("start %s: %w", a.name, err)
	}
	return nil
}

// listen takes what a life says until it has ended.
func (a *actor) listen(cmd *exec.Cmd, stdout, stderr io.Reader) {
	var readers sync.WaitGroup
	for from, r := range map[source]io.Reader{said: stdout, warned: stderr} {
		readers.Go(func() {
			for buf := bufio.NewReader(r); ; {
				text, err := buf.ReadString('\n')
				if whole, ok := strings.CutSuffix(text, "\n"); ok {
					a.note(from, whole)
				} else if text != "" {
					a.note(noted, "cut off by the end: "+text)
				}
				if err != nil {
					return
				}
			}
		})
	}
	readers.Wait()
	err := cmd.Wait()
	how := "ended with status 0"
	if err != nil {
		how = "ended: " + err.Error()
	}
	a.note(noted, how)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.status = false, err
	a.announce()
}

// note adds a line.
func (a *actor) note(from source, text string) {
	l := line{at: time.Since(a.lab.begun), from: from, text: text}
	var fault error
	if a.chat && from == said {
		l.event, fault = parse(text)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l.life = a.life
	a.lines = append(a.lines, l)
	if a.fault == nil && fault != nil {
		a.fault = fmt.Errorf("%s printed what is %w", a.name, fault)
	}
	a.announce()
}

// announce wakes all who wait. The lock is held.
func (a *actor) announce() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// tell writes a line to the program.
func (a *actor) tell(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	a.note(told, text)
	if err := a.stdin.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return fmt.Errorf("tell %s: %w", a.name, err)
	}
	if _, err := io.WriteString(a.stdin, text+"\n"); err != nil {
		return fmt.Errorf("tell %s %q: %w", a.name, short(text), err)
	}
	return nil
}

// mark is where the lines to come begin.
func (a *actor) mark() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lines)
}

// record returns the lines from a mark on.
func (a *actor) record(from int) []line {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lines[from:len(a.lines):len(a.lines)]
}

// errSilent says that what was waited for has not come, and will not or not in time.
var errSilent = errors.New("nothing came")

// awaitLine waits for a line from the mark on, and returns it.
func (a *actor) awaitLine(from int, limit time.Duration, what string, match func(line) bool) (line, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		a.mu.Lock()
		news, lines, running, fault := a.changed, a.lines, a.running, a.fault
		a.mu.Unlock()
		for ; from < len(lines); from++ {
			if match(lines[from]) {
				return lines[from], nil
			}
		}
		if fault != nil {
			return line{}, fault
		}
		if !running {
			return line{}, fmt.Errorf("%s ended, and before that %w: %s", a.name, errSilent, what)
		}
		select {
		case <-news:
		case <-timer.C:
			return line{}, fmt.Errorf("%s: in %v %w: %s", a.name, limit, errSilent, what)
		case <-a.lab.ctx.Done():
			return line{}, fmt.Errorf("%s: %w, while waiting for %s", a.name, context.Cause(a.lab.ctx), what)
		}
	}
}

// await waits for an event from the mark on.
func (a *actor) await(from int, limit time.Duration, kind string, fields ...string) (event, error) {
	what := strings.Join(append([]string{kind + ":"}, fields...), " ")
	l, err := a.awaitLine(from, limit, short(what), func(l line) bool { return l.from == said && l.is(kind, fields...) })
	return l.event, err
}

// ask tells the program a line and waits for the event that it leads to.
func (a *actor) ask(command string, limit time.Duration, kind string, fields ...string) (event, error) {
	from := a.mark()
	if err := a.tell("%s", command); err != nil {
		return event{}, err
	}
	return a.await(from, limit, kind, fields...)
}

// pid is the process of this life.
func (a *actor) pid() int { return a.cmd.Process.Pid }

// alive is an error if the program has ended, or said what is not the protocol.
func (a *actor) alive() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.running {
		return errors.Join(fmt.Errorf("%s is dead", a.name), a.status)
	}
	return a.fault
}

// kill ends a life as a crash or a power failure would, and waits until it is over.
func (a *actor) kill() error {
	a.mu.Lock()
	running := a.running
	a.mu.Unlock()
	if !running {
		return nil
	}
	a.note(noted, "killed")
	if err := a.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", a.name, err)
	}
	err := a.ended(endLimit)
	return errors.Join(err, a.stdin.Close())
}

// hangUp closes the program's stdin.
func (a *actor) hangUp() error {
	a.note(noted, "stdin closed")
	return a.stdin.Close()
}

// quit says /quit and waits for status 0. It returns how long it took.
func (a *actor) quit() (time.Duration, error) {
	if err := a.tell("/quit"); err != nil {
		return 0, err
	}
	took, err := a.leave()
	return took, errors.Join(err, a.stdin.Close())
}

// leave waits until the program has ended with status 0. It returns how long it took.
func (a *actor) leave() (time.Duration, error) {
	begun := time.Now()
	if err := a.ended(quitLimit); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status != nil {
		return 0, fmt.Errorf("%s ended with %w, want status 0", a.name, a.status)
	}
	return time.Since(begun), a.fault
}

// ended waits until the program has ended. One that does not is made to tell what
// it is about.
func (a *actor) ended(limit time.Duration) error {
	over := func(limit time.Duration) bool {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		for {
			a.mu.Lock()
			news, running := a.changed, a.running
			a.mu.Unlock()
			if !running {
				return true
			}
			select {
			case <-news:
			case <-timer.C:
				return false
			}
		}
	}
	if over(limit) {
		return nil
	}
	_ = a.cmd.Process.Signal(syscall.SIGQUIT)
	if !over(dumpLimit) {
		_ = a.cmd.Process.Kill()
		over(endLimit)
	}
	return fmt.Errorf("%s has not ended within %v", a.name, limit)
}

// print gives all that the program was told and said.
func (a *actor) print(w io.Writer) {
	fmt.Fprintf(w, "---- %s: %s %s\n", a.name, a.path, strings.Join(a.args, " "))
	for _, l := range a.record(0) {
		text := l.text
		if l.from != warned {
			text = short(text)
		}
		fmt.Fprintf(w, "%d %9.3f %s %s\n", l.life, l.at.Seconds(), l.from, text)
	}
}
