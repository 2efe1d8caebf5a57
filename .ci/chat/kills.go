package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	flowing     = 300 // messages that are sent while either end is killed
	drainLimit  = 60 * time.Second
	backLimit   = 15 * time.Second // from a start until messages flow again
	calmPeriod  = 1500 * time.Millisecond
	killsBudget = 60 * time.Second
)

// kills kills the receiver and the sender by turns while messages flow from one
// to the other.
func kills(l *lab) error {
	c, err := l.begin()
	if err != nil {
		return err
	}
	t := newTalk(c.alice, c.bob, c.aliceID, c.bobID)
	begun := time.Now()
	var pauses []time.Duration // from a kill to the next message that is shown
	n := 2 * l.tools.kills
	count := 0
	for i := range n {
		victim := []*actor{c.bob, c.alice}[i%2]
		fromVictim, slow := victim.mark(), l.random.IntN(3) == 0
		for due := flowing * (i + 1) / n; count < due; count++ {
			if err := t.send("message %d %s", count, l.padding()); err != nil {
				return err
			}
			if slow {
				if err := l.pause(time.Duration(l.random.IntN(40)) * time.Millisecond); err != nil {
					return err
				}
			}
		}
		// The victim dies in the middle of what it does, or at any time.
		if l.random.IntN(4) > 0 {
			if err := l.awaitActs(victim, fromVictim, 1+l.random.IntN(8)); err != nil {
				return err
			}
			if err := l.pause(time.Duration(l.random.IntN(2)*l.random.IntN(8000)) * time.Microsecond); err != nil {
				return err
			}
		} else if err := l.pause(time.Duration(l.random.IntN(500)) * time.Millisecond); err != nil {
			return err
		}
		if err := victim.alive(); err != nil {
			return err
		}
		if err := victim.kill(); err != nil {
			return err
		}
		fromBob, killed := c.bob.mark(), time.Now()
		if err := victim.start(); err != nil {
			return err
		}
		v, err := t.judge()
		if err != nil {
			return err
		}
		if v.unshown > 0 {
			if _, err := c.bob.await(fromBob, backLimit, "message", c.aliceID); err != nil {
				return fmt.Errorf("kill %d of %d, of %s: %w", i+1, n, victim.name, err)
			}
			pauses = append(pauses, time.Since(killed))
		}
	}
	// What was told to a life that ended before it was sent does not count.
	for {
		v, err := t.judge()
		if err != nil {
			return err
		}
		missing := flowing - v.sent
		if missing <= 0 {
			break
		}
		from := c.alice.mark()
		for range missing {
			if err := t.send("message %d %s", count, l.padding()); err != nil {
				return err
			}
			count++
			if _, err := c.alice.await(from, netLimit, "sent", c.bobID); err != nil {
				return err
			}
			from = c.alice.mark()
		}
	}
	killing := time.Since(begun)
	v, err := t.settle(drainLimit, true)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	slices.Sort(pauses)
	l.say("%d kills of each end in %.1f s, all there %.1f s later: %v", l.tools.kills, killing.Seconds(), (took - killing).Seconds(), v)
	if len(pauses) > 0 {
		l.say("after %d of them some were on their way: the next was shown after %.2f s (median), %.2f s at most",
			len(pauses), pauses[len(pauses)/2].Seconds(), pauses[len(pauses)-1].Seconds())
	}
	if took > killsBudget {
		return fmt.Errorf("that took %v, and should take less than %v", took.Round(time.Second), killsBudget)
	}

	return afterKills(l, c, t)
}

// afterKills has one more life of each: all is consumed, so that nothing is shown
// again, and what has been delivered is still said to be.
func afterKills(l *lab, c *couple, t *talk) error {
	for _, a := range []*actor{c.bob, c.alice} {
		took, err := a.quit()
		if err != nil {
			return err
		}
		l.say("%s quits in %.1f s", a.name, took.Seconds())
	}
	fromBob, fromAlice := c.bob.mark(), c.alice.mark()
	for _, a := range []*actor{c.bob, c.alice} {
		if err := a.start(); err != nil {
			return err
		}
	}
	if _, err := c.bob.await(fromBob, netLimit, "ready"); err != nil {
		return err
	}
	for _, line := range t.from.record(t.fromMark) {
		if line.from != said || !line.is("sent") {
			continue
		}
		if _, err := c.alice.await(fromAlice, soon, "delivered", line.fields...); err != nil {
			return fmt.Errorf("after a restart: %w", err)
		}
	}
	if err := l.pause(calmPeriod); err != nil {
		return err
	}
	if _, err := t.judge(); err != nil {
		return err
	}
	for _, line := range c.bob.record(fromBob) {
		if line.from == said && line.kind == "message" {
			return fmt.Errorf("shown again after all was consumed: %s", short(line.text))
		}
	}
	for _, a := range []*actor{c.bob, c.alice} {
		if _, err := a.quit(); err != nil {
			return err
		}
	}
	return nil
}

// awaitActs waits until the actor has said n lines, from the mark on, that have
// to do with messages, or until it has been still for a moment.
func (l *lab) awaitActs(a *actor, from, n int) error {
	const moment = 400 * time.Millisecond
	for {
		acts := 0
		for _, line := range a.record(from) {
			if line.from == said && (line.kind == "message" || line.kind == "sent" || line.kind == "delivered") {
				acts++
			}
		}
		if acts >= n {
			return nil
		}
		a.mu.Lock()
		news := a.changed
		a.mu.Unlock()
		timer := time.NewTimer(moment)
		select {
		case <-news:
			timer.Stop()
		case <-timer.C:
			return nil
		case <-l.ctx.Done():
			timer.Stop()
			return l.pause(0)
		}
	}
}

// padding makes messages of many lengths.
func (l *lab) padding() string { return strings.Repeat("x", l.random.IntN(400)) }
