package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// patience bounds a wait for a line, in virtual time.
const patience = 10 * time.Minute

// bubble runs a test in virtual time on a network of its own.
func bubble(t *testing.T, test func(t *testing.T, n *carriertest.Network)) {
	t.Helper()
	bubbleAt(t, 0, test)
}

// bubbleAt is bubble with a distance.
func bubbleAt(t *testing.T, delay time.Duration, test func(t *testing.T, n *carriertest.Network)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(t, carriertest.NewNetwork(t, &carriertest.Options{Delay: delay, Routers: 10}))
	})
}

// person is somebody with a state directory and a host, whose chat can be ended
// and started again.
type person struct {
	t       *testing.T
	net     *carriertest.Network
	config  carrier.Config
	maxFile int64
	path    string // of a file, for a test's own use

	id      string
	address string
	node    *carrier.Node
	chat    *chat
	shelf   *shelf
	in      *io.PipeWriter
	out     *output
	ended   chan error
	over    bool
}

// newPerson starts a person's chat.
func newPerson(t *testing.T, n *carriertest.Network, name string) *person {
	t.Helper()
	p := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: name, Net: n.Host()}, maxFile: 1 << 30}
	p.start()
	p.do("/me") // before it is ready
	p.id = p.wait(`id: (\w+)`)[1]
	p.address = p.wait(`address: (\w+)`)[1]
	p.wait("ready")
	t.Cleanup(p.quit)
	return p
}

func (p *person) start() { p.startWith(newOutput()) }

func (p *person) startWith(out *output) {
	p.t.Helper()
	p.node = p.net.Start(p.config)
	p.shelf = newShelf(p.t, p.config.Dir)
	read, write := io.Pipe()
	p.in, p.out, p.ended, p.over = write, out, make(chan error, 1), false
	p.chat = newChat(p.node, newScript(read, out), p.shelf, p.maxFile)
	go func(c *chat, ended chan error) {
		ended <- c.run(context.Background())
		read.Close()
		out.end()
	}(p.chat, p.ended)
}

// do gives the chat a line.
func (p *person) do(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatalf("%s: %s: %v", p.config.Name, format, err)
	}
}

// wait waits for a line that matches the whole pattern, and that no wait has
// taken yet.
func (p *person) wait(pattern string, args ...any) []string {
	p.t.Helper()
	m := p.out.wait(regexp.MustCompile("^" + fmt.Sprintf(pattern, args...) + "$"))
	if m == nil {
		p.t.Fatalf("%s: no line %s; there are:\n%s", p.config.Name, fmt.Sprintf(pattern, args...), strings.Join(p.out.all(), "\n"))
	}
	return m
}

// quit ends the chat by the end of its input, in time and without an error.
func (p *person) quit() {
	p.t.Helper()
	if p.over {
		return
	}
	begun := time.Now()
	p.in.Close()
	p.finish()
	if took := time.Since(begun); took > 10*time.Second {
		p.t.Errorf("%s: the end took %v, want at most 10 s", p.config.Name, took)
	}
}

// kill ends the chat without a word to anybody, and without what comes after.
func (p *person) kill() {
	p.t.Helper()
	if err := p.node.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.in.Close()
	p.finish()
}

func (p *person) finish() {
	p.t.Helper()
	if err := <-p.ended; err != nil && !errors.Is(err, context.Canceled) {
		p.t.Logf("%s: ended: %v", p.config.Name, err)
	}
	p.over = true
	if err := p.node.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// befriend makes two people friends by their chats, and waits until both are
// online.
func befriend(a, b *person) {
	a.t.Helper()
	a.do("/add %s hi", b.address)
	b.wait("request: %s \"hi\"", a.id)
	b.do("/accept %s", a.id)
	a.wait("friend: %s added", b.id)
	b.wait("friend: %s added", a.id)
	a.wait("friend: %s online", b.id)
	b.wait("friend: %s online", a.id)
}

// linked waits until a friend has a link.
func (p *person) linked(of *person) *carrier.Friend {
	p.t.Helper()
	f, err := p.node.Friend(mustID(p.t, of.id))
	if err != nil {
		p.t.Fatal(err)
	}
	for range int(patience / time.Second) {
		if f.Path().Kind != carrier.PathNone {
			return f
		}
		time.Sleep(time.Second)
	}
	p.t.Fatalf("%s has no link to %s", p.config.Name, of.config.Name)
	return nil
}

// file writes a file to be sent.
func (p *person) file(name string, content []byte) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// output takes the lines of a chat.
type output struct {
	mu      sync.Mutex
	lines   []string
	taken   []bool // by wait
	changed chan struct{}
	over    bool
	held    chan struct{}  // what is written waits until it is closed
	breaks  string         // a line that begins so cannot be written
	before  func(b []byte) // called before something is written
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	held, before := o.held, o.before
	o.mu.Unlock()
	if before != nil {
		before(b)
	}
	if held != nil {
		<-held
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.breaks != "" && bytes.HasPrefix(b, []byte(o.breaks)) {
		return 0, io.ErrClosedPipe
	}
	o.lines = append(o.lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	o.taken = append(o.taken, make([]bool, len(o.lines)-len(o.taken))...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

// hold has everything wait that is written from now on, until release.
func (o *output) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = make(chan struct{})
}

func (o *output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.held)
	o.held = nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines...)
}

// count returns how many lines begin so.
func (o *output) count(prefix string) int {
	n := 0
	for _, line := range o.all() {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func (o *output) wait(re *regexp.Regexp) []string {
	late := time.After(patience)
	for {
		o.mu.Lock()
		for i, line := range o.lines {
			if m := re.FindStringSubmatch(line); m != nil && !o.taken[i] {
				o.taken[i] = true
				o.mu.Unlock()
				return m
			}
		}
		changed, over := o.changed, o.over
		o.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-late:
			return nil
		}
	}
}
