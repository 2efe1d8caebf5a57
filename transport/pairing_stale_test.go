package transport

import (
	"errors"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// TestPairingStale: offers of which nothing came are kept for as long as an
// answer may take, and an answer that comes later is answered itself.
func TestPairingStale(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		held  bool
	}{{answerFor - time.Second, true}, {answerFor + time.Second, false}} {
		a, b := newPairings(t)
		a.want(a.now)
		first := a.offers(a.take())
		a.dontWant(a.now)
		if out := a.take(); !out.Withdraw {
			t.Fatalf("nothing wanted, but %+v", out)
		}
		answer := b.offers(b.hears(a, first))
		a.passes(test.after)
		if held := len(a.local) > 0; held != test.held {
			t.Errorf("offer held after %v: %t, want %t", test.after, held, test.held)
		}
		out := a.hears(b, answer)
		if test.held {
			started(t, out)
			continue
		}
		// It costs one offer more.
		again := a.offers(out)
		if again.Offer.Re != answer.Offer.ID {
			t.Errorf("the late answer is answered by an offer that names %x, want %x", again.Offer.Re, answer.Offer.ID)
		}
		b.now = a.now
		ours, theirs := started(t, out), b.hears(a, again)
		if len(theirs.Start) == 0 || theirs.Start[0].ID != ours.ID {
			t.Errorf("attempts %+v, want that of %x", theirs.Start, ours.ID)
		}
	}
}

// TestPairingStaleIsNotForgotten: what was heard counts no second time, nor what
// is of an older store, though the offers are dropped.
func TestPairingStaleIsNotForgotten(t *testing.T) {
	a, b := newPairings(t)
	b.want(b.now)
	theirs := b.offers(b.take())
	a.hears(b, theirs)
	a.dontWant(a.now)
	a.take()
	a.passes(2 * answerFor)
	if len(a.local)+len(a.remote)+len(a.pairs) > 0 || !a.next().IsZero() {
		t.Errorf("%d + %d offers and %d pairs kept, next %v; want nothing", len(a.local), len(a.remote), len(a.pairs), a.next())
	}
	if err := a.received(a.now, b.inc, theirs.Bytes); !errors.Is(err, errOldOffer) {
		t.Errorf("the same offer again: %v, want errOldOffer", err)
	}
	b.passes(time.Hour)
	newer := b.standing
	if err := a.received(a.now, crypto.Incarnation{Created: 1}, newer.Bytes); newer == theirs || !errors.Is(err, errOldOffer) {
		t.Errorf("an offer of an older store: %v, want errOldOffer", err)
	}
	if err := a.received(a.now, b.inc, newer.Bytes); err != nil {
		t.Errorf("a newer offer: %v", err)
	}
}
