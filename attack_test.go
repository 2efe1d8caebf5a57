package carrier_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/wire"
)

// mail is an envelope with one message, of the year 146 million.
func (s *stranger) mail(t *testing.T, to carrier.ID, state *wire.State, number uint64, id carrier.MessageID, body string) []byte {
	t.Helper()
	x := &wire.Mail{
		Sequence: wire.Sequence{Incarnation: s.incarnation, Counter: 1}, Generation: s.rise(),
		Bond: state.Bond, Base: 1, First: number,
		Items: []wire.Item{{ID: wire.MessageID(id), Time: 1 << 62, Body: []byte(body)}},
	}
	signed := s.sign("mail", to, x.Sequence.Incarnation, x.Generation, wire.AppendMail(nil, x))
	info := append([]byte("carrier/1 mail"), s.identity.ID().Bytes()...)
	info = wire.AppendUint64(append(info, to.Bytes()...), state.Prekey.Number)
	sealed, err := state.Prekey.Public.Seal(info, nil, signed)
	if err != nil {
		t.Fatal(err)
	}
	return s.envelope(t, to, wire.KindMail, wire.AppendMailBody(nil, state.Prekey.Number, sealed))
}

// TestMessageIDTaken has a friend give its messages the IDs of others: of one
// that we have sent, and of one that another friend has. Each must be shown as
// what it is, and no handle of another message move.
func TestMessageIDTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHonest(t)
		mallory := newStranger(t, h.network)
		defer mallory.close(t)
		alice := h.alice.ID()
		state := mallory.befriend(t, h.alice)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		sent, err := sendAll(ctx, h.toBob, "for Bob")
		if err != nil {
			t.Fatal(err)
		}
		if err := delivered(ctx, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := sendAll(ctx, h.toAli, "from Bob"); err != nil {
			t.Fatal(err)
		}
		var ofBob *carrier.Message
		for msg, err := range h.alice.Messages(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			ofBob = msg
			if err := msg.Done(); err != nil {
				t.Fatal(err)
			}
			break
		}
		for i, id := range []carrier.MessageID{sent[0].ID(), ofBob.ID()} {
			body := fmt.Sprintf("from Mallory %d", i)
			mallory.prove(t, h.alice, state.Bond)
			mallory.send(t, h.alice, mallory.mail(t, alice, state, uint64(1+i), id, body))
			for msg, err := range h.alice.Messages(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				if msg.From() != mallory.id() || msg.To() != alice || string(msg.Body()) != body || msg.ID() != id {
					t.Errorf("Mallory's message with the ID of another is shown as %q from %s to %s", msg.Body(), msg.From(), msg.To())
				}
				if _, err := msg.Time().MarshalJSON(); err != nil {
					t.Errorf("its time cannot be written: %v", err)
				}
				if err := msg.Done(); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		if sent[0].From() != alice || sent[0].State().Status != carrier.MessageDelivered {
			t.Errorf("our own message is now from %s, %v", sent[0].From(), sent[0].State())
		}
		if ofBob.From() != h.bob.ID() || string(ofBob.Body()) != "from Bob" {
			t.Errorf("Bob's message is now from %s: %q", ofBob.From(), ofBob.Body())
		}
		next, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		for msg, err := range h.alice.Messages(next) { // all were consumed, none comes again
			if err == nil {
				t.Errorf("%q from %s came again", msg.Body(), msg.From())
			}
		}
	})
}

// TestLastSeenIsNotAhead has a friend sign a state of the year 292 million.
func TestLastSeenIsNotAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := carriertest.NewNetwork(t, nil)
		alice := network.Node("Alice")
		mallory := newStranger(t, network)
		defer mallory.close(t)
		state := mallory.befriend(t, alice)
		mallory.send(t, alice, mallory.envelope(t, alice.ID(), wire.KindState, mallory.state(alice.ID(), func(x *wire.State) {
			x.Bond, x.Time = state.Bond, 1<<62
		})))
		time.Sleep(time.Second)
		friend, err := alice.Friend(mallory.id())
		if err != nil {
			t.Fatal(err)
		}
		if seen := friend.LastSeen(); seen.IsZero() || seen.After(time.Now()) {
			t.Errorf("last seen %v, it is %v", seen, time.Now())
		}
	})
}
