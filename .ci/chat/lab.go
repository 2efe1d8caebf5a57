package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	soon      = 5 * time.Second          // for what needs no network
	netLimit  = 30 * time.Second         // for what does; it takes a second or two on a quiet machine
	quitLimit = 10500 * time.Millisecond // 10 s are promised from /quit to the exit
)

// lab is a network of one bootstrap node and some chats, with addresses of
// 127.0.0.0/24 and a folder of its own.
type lab struct {
	ctx    context.Context
	name   string
	dir    string
	tools  tools
	random *rand.Rand
	begun  time.Time
	host   int // last byte of the next address
	boot   string
	actors []*actor
}

// say prints a line of results.
func (l *lab) say(format string, args ...any) {
	fmt.Printf("%-9s %5.1f s  %s\n", l.name, time.Since(l.begun).Seconds(), fmt.Sprintf(format, args...))
}

// address returns an address that nobody else of this machine has, with a port that is free.
func (l *lab) address() (string, error) {
	l.host++
	conn, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.%d:0", l.host))
	if err != nil {
		return "", err
	}
	return conn.LocalAddr().String(), conn.Close()
}

// add makes an actor, which does not run yet.
func (l *lab) add(name, path string, args ...string) *actor {
	a := &actor{
		lab: l, name: name, path: path, args: args, changed: make(chan struct{}),
		env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + l.dir, "TERM=xterm", "LC_ALL=C.UTF-8", "GOTRACEBACK=all"},
	}
	l.actors = append(l.actors, a)
	return a
}

// bootstrap starts the node that the others begin with.
func (l *lab) bootstrap() error {
	at, err := l.address()
	if err != nil {
		return err
	}
	a := l.add("bootstrap", l.tools.bootstrap, "-listen", at, "-bootstrap", "none")
	if err := a.start(); err != nil {
		return err
	}
	up, err := a.awaitLine(0, soon, "bootstrap: HOST:PORT", func(l line) bool { return l.from == said })
	if err != nil {
		return err
	}
	if want := "bootstrap: " + at; up.text != want {
		return fmt.Errorf("the bootstrap node printed %q, want %q", up.text, want)
	}
	l.boot = at
	return nil
}

// person makes a chat, which does not run yet.
func (l *lab) person(name string, flags ...string) (*actor, error) {
	at, err := l.address()
	if err != nil {
		return nil, err
	}
	args := append([]string{"-dir", filepath.Join(l.dir, strings.ToLower(name)), "-listen", at, "-bootstrap", l.boot, "-name", name}, flags...)
	a := l.add(name, l.tools.chat, args...)
	a.chat = true
	return a, nil
}

// dirOf is the state directory of a chat.
func (l *lab) dirOf(a *actor) string { return filepath.Join(l.dir, strings.ToLower(a.name)) }

// listenOf is the address of a chat's node.
func (l *lab) listenOf(a *actor) string {
	for i, arg := range a.args {
		if arg == "-listen" {
			return a.args[i+1]
		}
	}
	return ""
}

// me asks a chat who it is.
func me(a *actor) (id, address string, err error) {
	from := a.mark()
	e, err := a.ask("/me", soon, "id")
	if err != nil {
		return "", "", err
	}
	id = e.fields[0]
	if e, err = a.await(from, soon, "address"); err != nil {
		return "", "", err
	}
	return id, e.fields[0], nil
}

// couple is two chats that are friends.
type couple struct {
	alice, bob     *actor
	aliceID, bobID string
}

// begin starts a bootstrap node and two chats, and makes them friends who see
// each other online.
func (l *lab) begin() (*couple, error) {
	if err := l.bootstrap(); err != nil {
		return nil, err
	}
	c := &couple{}
	var err error
	if c.alice, err = l.person("Alice"); err != nil {
		return nil, err
	}
	if c.bob, err = l.person("Bob"); err != nil {
		return nil, err
	}
	if err := errors.Join(c.alice.start(), c.bob.start()); err != nil {
		return nil, err
	}
	if err := c.befriend(""); err != nil {
		return nil, err
	}
	return c, nil
}

// befriend has Alice ask and Bob accept, and waits until both are online.
func (c *couple) befriend(hello string) error {
	fromAlice, fromBob := c.alice.mark(), c.bob.mark()
	var address string
	var err error
	if c.aliceID, _, err = me(c.alice); err != nil {
		return err
	}
	if c.bobID, address, err = me(c.bob); err != nil {
		return err
	}
	if err := c.alice.tell("%s", strings.TrimSpace("/add "+address+" "+hello)); err != nil {
		return err
	}
	if _, err := c.bob.await(fromBob, netLimit, "request", c.aliceID, hello); err != nil {
		return err
	}
	if _, err := c.bob.ask("/accept "+c.aliceID, soon, "friend", c.aliceID, "added"); err != nil {
		return err
	}
	if _, err := c.alice.await(fromAlice, netLimit, "friend", c.bobID, "added"); err != nil {
		return err
	}
	return c.online(fromAlice, fromBob)
}

// online waits until each sees the other.
func (c *couple) online(fromAlice, fromBob int) error {
	if _, err := c.alice.await(fromAlice, netLimit, "friend", c.bobID, "online"); err != nil {
		return err
	}
	_, err := c.bob.await(fromBob, netLimit, "friend", c.aliceID, "online")
	return err
}

// end ends whatever still runs.
func (l *lab) end() error {
	var errs []error
	for _, a := range l.actors {
		errs = append(errs, a.kill())
		a.mu.Lock()
		errs = append(errs, a.fault)
		a.mu.Unlock()
	}
	return errors.Join(errs...)
}

// print gives the transcripts of all that took part.
func (l *lab) print(w io.Writer) {
	for _, a := range l.actors {
		a.print(w)
	}
}

// pause waits, or returns why the lab ends.
func (l *lab) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}
