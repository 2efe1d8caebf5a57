package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	drainTime  = 8 * time.Second // of the 10 s that an end may take: closing and the last lines take up to one each
	settleTime = 2 * time.Second // of it for what is being printed and written
)

// errQuit is how the chat ends in order.
var errQuit = errors.New("quit")

// nodeFailed is how it ends when the node does, as on a full disk.
type nodeFailed struct{ err error }

func (n *nodeFailed) Error() string { return n.err.Error() }

// chat joins a node and a front: it does what lines say and shows what happens.
type chat struct {
	node     *carrier.Node
	front    front
	people   *people
	receipts *receipts
	senders  *senders
	takers   *takers
	release  func() // called when the end begins
	undone   error  // what the end did not get done in time

	quit context.CancelCauseFunc
	work sync.WaitGroup // the goroutines that end with the context of run

	current carrier.ID // whom plain texts go to; the reading goroutine's
}

// newChat makes a chat. Friends as they are now are no news.
func newChat(node *carrier.Node, f front, s *shelf, maxFile int64) *chat {
	c := &chat{node: node, front: f, release: func() {}, quit: func(error) {}}
	c.people = newPeople(node, c.show)
	c.receipts = newReceipts(node, c.show)
	c.senders = newSenders(c.show, c.spawn)
	c.takers = newTakers(s, maxFile, c.show, c.spawn)
	return c
}

// show shows an event. Without an output there is nothing left to do.
func (c *chat) show(e event) { _ = c.print(e) }

// print is show for who needs to know.
func (c *chat) print(e event) error {
	err := c.front.show(e)
	if err != nil {
		c.quit(errQuit)
	}
	return err
}

// run is the chat until it is told to quit, ctx ends, or the node fails, which is
// its only error. The node is shut down then.
func (c *chat) run(ctx context.Context) error {
	ctx, c.quit = context.WithCancelCause(ctx)
	defer c.quit(errQuit)
	listener, err := c.node.ListenSessions(fileService, &carrier.ListenOptions{Streams: 1})
	if err != nil {
		return err
	}
	defer listener.Close()

	watching := make(chan struct{}) // until the node is closed
	events := c.node.Events(context.WithoutCancel(ctx))
	c.spawn(nil, func() { defer close(watching); c.watch(events) })
	c.spawn(&c.work, func() {
		if c.node.WaitReady(ctx) == nil {
			c.show(ready{})
		}
	})
	c.spawn(&c.work, func() { c.readMessages(ctx) })
	c.spawn(&c.work, func() { c.takers.run(ctx, listener) })
	c.spawn(nil, func() { c.readLines(ctx) }) // reading may last until the process ends

	<-ctx.Done()
	c.release()
	limit := time.Now().Add(drainTime)
	c.show(done("quitting: friends are told, a few seconds at most"))
	c.front.close()
	settled := make(chan struct{})
	c.spawn(nil, func() { c.work.Wait(); c.senders.wait(); close(settled) })
	within(settled, settleTime) // an output that nobody reads is not waited for

	drain, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	c.undone = c.node.Shutdown(drain)
	within(watching, time.Second)
	if failure, ok := errors.AsType[*nodeFailed](context.Cause(ctx)); ok {
		return failure.err
	}
	return nil
}

// within waits for done, but no longer than d.
func within(done <-chan struct{}, d time.Duration) {
	select {
	case <-done:
	case <-time.After(d):
	}
}

// spawn runs f. A panic gives the terminal back before it ends the program.
func (c *chat) spawn(group *sync.WaitGroup, f func()) {
	if group != nil {
		group.Add(1)
	}
	go func() {
		if group != nil {
			defer group.Done()
		}
		defer c.rescue()
		f()
	}()
}

func (c *chat) rescue() {
	if p := recover(); p != nil {
		c.front.close()
		panic(p)
	}
}

// readMessages prints the inbox. Printing and consuming are two acts, and both
// are over before the next message: a kill repeats the last one at most.
func (c *chat) readMessages(ctx context.Context) {
	for msg, err := range c.node.Messages(ctx) {
		if err == nil {
			if f, ferr := c.node.Friend(msg.From()); ferr == nil {
				c.people.look(f) // they are a friend before they say something
			}
			if c.print(message{msg}) != nil {
				return // not printed: it comes again
			}
			err = msg.Done()
		}
		if err != nil {
			c.quit(&nodeFailed{err}) // unless ctx has ended
			return
		}
	}
}

// readLines does what lines say until there is none.
func (c *chat) readLines(ctx context.Context) {
	for ctx.Err() == nil {
		line, err := c.front.read()
		var long *longLine
		switch {
		case errors.As(err, &long):
			c.show(failed{long.command, long})
		case err != nil: // io.EOF or not, no more is coming
			c.quit(errQuit)
		default:
			c.do(ctx, line)
		}
	}
}

// watch shows what the node tells, until it is closed. What it tells first is how
// things are: where they are as they were shown, that shows nothing.
func (c *chat) watch(events func(func(carrier.Event) bool)) {
	for ev := range events {
		switch ev := ev.(type) {
		case carrier.Synced: // at the start, and after events were lost
			c.people.lookAtAll()
			c.receipts.lookAtAll()
		case carrier.FriendRequest:
			c.people.asked(ev)
		case carrier.RequestWithdrawn:
			c.people.answered(ev.ID)
		case carrier.FriendChanged:
			c.people.became(ev.Friend.ID(), ev.State)
		case carrier.FriendPresence:
			c.people.present(ev.Friend, ev.Online)
		case carrier.MessageChanged:
			c.receipts.changed(ev.Message, ev.State.Status)
		}
	}
}
