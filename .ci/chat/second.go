package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const refuseLimit = 5 * time.Second // for a second process on one state directory

// second starts a chat on a state directory that another one has.
func second(l *lab) error {
	c, err := l.begin()
	if err != nil {
		return err
	}
	at, err := l.address()
	if err != nil {
		return err
	}
	args := slices.Clone(c.bob.args)
	args[slices.Index(args, "-listen")+1] = at
	intruder := l.add("Bob's second", l.tools.chat, args...)
	intruder.chat = true
	begun := time.Now()
	if err := intruder.start(); err != nil {
		return err
	}
	if err := intruder.ended(refuseLimit); err != nil {
		return err
	}
	took := time.Since(begun)
	intruder.mu.Lock()
	status := intruder.status
	intruder.mu.Unlock()
	if status == nil {
		return fmt.Errorf("the second on %s ended with status 0", l.dirOf(c.bob))
	}
	var why []string
	for _, line := range intruder.record(0) {
		if line.from == said {
			return fmt.Errorf("the second on %s printed %q to stdout", l.dirOf(c.bob), line.text)
		}
		if line.from == warned {
			why = append(why, line.text)
		}
	}
	text := strings.Join(why, " ")
	// It names the directory, and a way out: another one, or the end of the first.
	if !strings.Contains(text, l.dirOf(c.bob)) || len(why) > 3 || !strings.Contains(text, "another") && !strings.Contains(text, "other") {
		return fmt.Errorf("the second on %s does not say what to do: %q", l.dirOf(c.bob), text)
	}
	l.say("the second ends after %.2f s with %v: %s", took.Seconds(), status, text)

	there, back := newTalk(c.alice, c.bob, c.aliceID, c.bobID), newTalk(c.bob, c.alice, c.bobID, c.aliceID)
	for i := range 3 {
		if err := there.send("after the second, %d", i); err != nil {
			return err
		}
		if err := back.send("after the second, %d", i); err != nil {
			return err
		}
	}
	for _, t := range []*talk{there, back} {
		if _, err := t.settle(netLimit, false); err != nil {
			return err
		}
	}
	l.say("the first goes on")
	for _, a := range []*actor{c.alice, c.bob} {
		if _, err := a.quit(); err != nil {
			return err
		}
	}
	return nil
}
