package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	talks = 10 // messages each way while both are online
	left  = 3  // messages that Alice leaves for Bob
)

// story is what Alice and Bob do.
type story struct {
	dir     string
	routers []string
	local   bool
	verbose bool
	line    *timeline

	alice, bob     *carrier.Node
	bobID, aliceID carrier.ID
}

// start starts a node with its own directory and, where the system has them,
// an address of its own on loopback.
func (s *story) start(name string) (*carrier.Node, error) {
	config := carrier.Config{
		Dir:       filepath.Join(s.dir, name),
		Name:      name,
		Bootstrap: s.routers,
		Listen:    listenAddress(name, s.local),
	}
	if s.verbose {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	return carrier.Start(context.Background(), config)
}

// listenAddress gives Alice 127.0.0.1 and Bob 127.0.0.2, which Linux has and
// other systems may lack. With a DHT elsewhere it is for the system to choose.
func listenAddress(name string, local bool) string {
	if !local {
		return ""
	}
	if name == "Bob" {
		if conn, err := net.ListenPacket("udp4", "127.0.0.2:0"); err == nil {
			_ = conn.Close() // it was only a question
			return "127.0.0.2:0"
		}
	}
	return "127.0.0.1:0"
}

// meet: both start, Alice asks, Bob accepts, both see each other online.
func (s *story) meet(ctx context.Context) (err error) {
	if s.alice, err = s.start("Alice"); err != nil {
		return err
	}
	if s.bob, err = s.start("Bob"); err != nil {
		return err
	}
	s.aliceID, s.bobID = s.alice.ID(), s.bob.ID()
	for _, node := range []*carrier.Node{s.alice, s.bob} {
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	s.line.step("Alice and Bob have joined the DHT")

	bob, err := s.alice.AddFriend(ctx, s.bob.Address(), "hi Bob, it's Alice")
	if err != nil {
		return err
	}
	request, err := waitRequest(ctx, s.bob)
	if err != nil {
		return err
	}
	s.line.step("Bob sees the request of %s: %q", request.Name, request.Hello)

	alice, err := s.bob.Accept(request.ID)
	if err != nil {
		return err
	}
	if err := bob.WaitAccepted(ctx); err != nil {
		return err
	}
	for _, f := range []*carrier.Friend{alice, bob} {
		if err := f.WaitOnline(ctx); err != nil {
			return err
		}
	}
	s.line.step("Bob has accepted, and each sees the other online")
	return nil
}

// waitRequest returns the first friend request that a node sees.
func waitRequest(ctx context.Context, node *carrier.Node) (carrier.FriendRequest, error) {
	for ev := range node.Events(ctx) {
		if request, ok := ev.(carrier.FriendRequest); ok {
			return request, nil
		}
	}
	return carrier.FriendRequest{}, fmt.Errorf("no friend request has come: %w", context.Cause(ctx))
}

// talk: ten messages each way, each with its receipt.
func (s *story) talk(ctx context.Context) error {
	for _, way := range []struct {
		name     string
		from, to *carrier.Node
	}{{"Alice → Bob", s.alice, s.bob}, {"Bob → Alice", s.bob, s.alice}} {
		friend, err := way.from.Friend(way.to.ID())
		if err != nil {
			return err
		}
		var sent []*carrier.Message
		for i := range talks {
			msg, err := friend.Send(ctx, fmt.Appendf(nil, "message %d, %s", i+1, way.name), nil)
			if err != nil {
				return err
			}
			sent = append(sent, msg)
		}
		got, err := read(ctx, way.to, talks)
		if err != nil {
			return err
		}
		if err := same(sent, got); err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		for _, msg := range sent {
			if err := msg.WaitDelivered(ctx); err != nil {
				return err
			}
		}
		s.line.step("%s: %d messages, each with its receipt, courier %s", way.name, talks, got[0].Courier())
	}
	return nil
}

// apart: from here on Alice and Bob never run at the same time.
func (s *story) apart(ctx context.Context) (err error) {
	if err := s.stop(ctx, &s.bob); err != nil {
		return err
	}
	s.line.step("Bob has shut down")

	bob, err := s.alice.Friend(s.bobID)
	if err != nil {
		return err
	}
	var sent []*carrier.Message
	for i := range left {
		msg, err := bob.Send(ctx, fmt.Appendf(nil, "for when you are back: %d", i+1), nil)
		if err != nil {
			return err
		}
		sent = append(sent, msg)
	}
	for _, msg := range sent {
		if err := msg.WaitStored(ctx); err != nil {
			return err
		}
	}
	s.line.step("Alice has left %d messages: %s", left, sent[0].State())
	if err := s.stop(ctx, &s.alice); err != nil {
		return err
	}
	s.line.step("Alice has shut down; nobody runs now")

	if s.bob, err = s.start("Bob"); err != nil {
		return err
	}
	got, err := read(ctx, s.bob, left)
	if err != nil {
		return err
	}
	if err := same(sent, got); err != nil {
		return err
	}
	for _, msg := range got {
		if msg.Courier() != carrier.CourierDHT {
			return fmt.Errorf("message %s came by courier %s, want dht", msg.ID(), msg.Courier())
		}
		s.line.step("Bob, alone, reads %q, courier %s", msg.Body(), msg.Courier())
	}
	if err := s.stop(ctx, &s.bob); err != nil {
		return err
	}
	s.line.step("Bob has shut down; nobody runs now")

	if s.alice, err = s.start("Alice"); err != nil {
		return err
	}
	outbox := s.alice.Outbox()
	for _, want := range sent {
		i := slices.IndexFunc(outbox, func(m *carrier.Message) bool { return m.ID() == want.ID() })
		if i < 0 {
			return fmt.Errorf("message %s is missing in Alice's outbox", want.ID())
		}
		if err := outbox[i].WaitDelivered(ctx); err != nil {
			return err
		}
	}
	s.line.step("Alice, alone, has read the %d receipts in the DHT", left)
	return s.stop(ctx, &s.alice)
}

// stop shuts a node down and forgets it.
func (s *story) stop(ctx context.Context, node **carrier.Node) error {
	n := *node
	*node = nil
	s.printStats(n)
	return n.Shutdown(ctx)
}

func (s *story) printStats(n *carrier.Node) {
	if !s.verbose {
		return
	}
	name := "Alice"
	if n.ID() == s.bobID {
		name = "Bob"
	}
	stats := n.Stats()
	for _, counter := range slices.Sorted(maps.Keys(stats)) {
		if stats[counter] != 0 {
			fmt.Fprintf(os.Stderr, "%s %s = %d\n", name, counter, stats[counter])
		}
	}
}

func (s *story) close() error {
	var errs []error
	for _, node := range []*carrier.Node{s.alice, s.bob} {
		if node != nil {
			s.printStats(node)
			errs = append(errs, node.Close())
		}
	}
	return errors.Join(errs...)
}

// read takes n messages from a node's inbox.
func read(ctx context.Context, node *carrier.Node, n int) ([]*carrier.Message, error) {
	var got []*carrier.Message
	for msg, err := range node.Messages(ctx) {
		if err != nil {
			return nil, fmt.Errorf("%d of %d messages have come: %w", len(got), n, err)
		}
		if err := msg.Done(); err != nil {
			return nil, err
		}
		if got = append(got, msg); len(got) == n {
			break
		}
	}
	return got, nil
}

// same compares what was sent with what has come.
func same(sent, got []*carrier.Message) error {
	for i, msg := range sent {
		if got[i].ID() != msg.ID() || string(got[i].Body()) != string(msg.Body()) {
			return fmt.Errorf("message %d came as %q, want %q", i+1, got[i].Body(), msg.Body())
		}
		if d := got[i].Time().Sub(msg.Time()); d.Abs() >= time.Millisecond {
			return fmt.Errorf("message %d has the time %v, want %v", i+1, got[i].Time(), msg.Time())
		}
	}
	return nil
}
