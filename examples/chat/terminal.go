package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/gocarrier/carrier"
)

// erase clears the line that is being typed before something is shown: x/term
// does so from where it believes the cursor to be, which is not enough after
// characters of double width, or when the cursor stands in an upper row.
const erase = "\r\x1b[J"

const redrawTime = 100 * time.Millisecond // a bar moves so often

// terminal is the front for people: line editing by x/term, and what happens
// above the line that is being typed.
type terminal struct {
	in, out *os.File
	edit    *term.Terminal
	view    *view
	unwatch func() // of the window's size
	unlock  func() // what the output's mode was

	mu    sync.Mutex
	old   *term.State // nil: the terminal is given back
	to    string      // the prompt: who is talked to
	bars  bars
	drawn time.Time
}

// isTerminal reports whether there are people at a file.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// openTerminal takes the terminal over.
func openTerminal(in, out *os.File, node *carrier.Node) (*terminal, error) {
	t := &terminal{in: in, out: out, view: &view{node: node, now: time.Now}, bars: bars{}}
	t.view.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	t.edit = term.NewTerminal(both{in, out}, t.prompt())
	unlock, err := allowEscapes(out)
	if err != nil {
		return nil, err
	}
	if t.old, err = term.MakeRaw(int(in.Fd())); err != nil {
		unlock()
		return nil, err
	}
	t.unlock = unlock
	t.resize()
	t.unwatch = watchSize(t.resize)
	return t, t.write(t.view.greeting())
}

// both is a terminal as x/term wants it.
type both struct{ in, out *os.File }

func (b both) Read(p []byte) (int, error)  { return b.in.Read(p) }
func (b both) Write(p []byte) (int, error) { return b.out.Write(p) }

func (t *terminal) resize() {
	if width, height, err := term.GetSize(int(t.out.Fd())); err == nil {
		_ = t.edit.SetSize(width, height) // an output that is gone shows at the next Write
	}
}

// read returns the next line; Ctrl-C, and Ctrl-D on an empty line, are the end.
func (t *terminal) read() (string, error) {
	line, err := t.edit.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

func (t *terminal) show(e event) error {
	switch e := e.(type) {
	case progress:
		return t.progress(e)
	case talking:
		t.mu.Lock()
		t.to = ""
		if e.to != nil {
			t.to = t.view.name(e.to.ID())
		}
		t.mu.Unlock()
		return t.redraw("")
	}
	return t.write(t.view.text(e))
}

func (t *terminal) write(text string) error {
	if text == "" {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.old == nil {
		_, err = t.out.WriteString(text)
	} else {
		_, err = t.edit.Write([]byte(erase + text))
	}
	return err
}

// redraw shows a text and the prompt as it is now.
func (t *terminal) redraw(text string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.old == nil {
		return nil
	}
	t.edit.SetPrompt(t.prompt())
	_, err := t.edit.Write([]byte(erase + text))
	return err
}

// prompt is the bar of a file under way, and who is talked to.
func (t *terminal) prompt() string {
	p := t.to + "> "
	if t.view.colour {
		p = t.view.paint(bold, t.to) + "> "
	}
	return t.bars.line(t.view.now()) + p
}

// progress moves a bar, not too often.
func (t *terminal) progress(p progress) error {
	t.mu.Lock()
	now := t.view.now()
	t.bars.move(p, now)
	skip := !p.over && now.Sub(t.drawn) < redrawTime
	if !skip {
		t.drawn = now
	}
	t.mu.Unlock()
	if skip {
		return nil
	}
	return t.redraw("")
}

// close gives the terminal back; what is shown later is shown plainly.
func (t *terminal) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.old == nil {
		return
	}
	t.unwatch()
	_, _ = t.out.WriteString(erase) // or there is no terminal any more
	_ = term.Restore(int(t.in.Fd()), t.old)
	t.unlock()
	t.old = nil
}
