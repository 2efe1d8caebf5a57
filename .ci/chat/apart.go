package main

import (
	"fmt"
	"slices"
	"time"
)

// storedLimit is longer than what else the network takes: with one node to store
// at, the packets that may be sent to it in a second are what counts.
const storedLimit = time.Minute

// apart has two friends who are never there together exchange messages and receipts.
func apart(l *lab) error {
	c, err := l.begin()
	if err != nil {
		return err
	}
	fromAlice := c.alice.mark()
	took, err := c.bob.quit()
	if err != nil {
		return err
	}
	if _, err := c.alice.await(fromAlice, netLimit, "friend", c.bobID, "offline"); err != nil {
		return err
	}
	l.say("Bob quits in %.1f s, and Alice sees it", took.Seconds())

	texts := []string{"the first of three", "the second, \"quoted\"\twith a tab", "the third, až na konec 🙂"}
	begun := time.Now()
	var ids []string
	for _, text := range texts {
		sent, err := c.alice.ask("/msg "+c.bobID+" "+text, soon, "sent", c.bobID)
		if err != nil {
			return err
		}
		ids = append(ids, sent.fields[1])
	}
	for _, id := range ids {
		if _, err := c.alice.await(fromAlice, storedLimit, "stored", c.bobID, id); err != nil {
			return err
		}
	}
	stored := time.Since(begun)
	if took, err = c.alice.quit(); err != nil {
		return err
	}
	l.say("Alice's three are stored in %.1f s; she quits in %.1f s", stored.Seconds(), took.Seconds())

	fromBob := c.bob.mark()
	begun = time.Now()
	if err := c.bob.start(); err != nil {
		return err
	}
	for i, id := range ids {
		if _, err := c.bob.await(fromBob, netLimit, "message", c.aliceID, id, "offline", texts[i]); err != nil {
			return err
		}
	}
	shown := time.Since(begun)
	var order []string
	for _, line := range c.bob.record(fromBob) {
		if line.from == said && line.kind == "message" {
			order = append(order, line.fields[1])
		}
	}
	if !slices.Equal(order, ids) {
		return fmt.Errorf("the order at Bob is %v, want %v", order, ids)
	}
	if took, err = c.bob.quit(); err != nil {
		return err
	}
	l.say("Bob, alone, is shown them as offline in %.1f s; he quits in %.1f s", shown.Seconds(), took.Seconds())

	fromAlice = c.alice.mark()
	begun = time.Now()
	if err := c.alice.start(); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := c.alice.await(fromAlice, netLimit, "delivered", c.bobID, id); err != nil {
			return err
		}
	}
	delivered := time.Since(begun)
	if took, err = c.alice.quit(); err != nil {
		return err
	}
	l.say("Alice, alone, sees them delivered in %.1f s; she quits in %.1f s", delivered.Seconds(), took.Seconds())
	return nil
}
