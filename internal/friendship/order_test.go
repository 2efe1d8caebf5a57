package friendship

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// What was said earlier and comes later changes nothing: a removal does not end
// a friendship, nor withdraw a request, that was begun after it.
func TestEndThatComesLate(t *testing.T) {
	to := address(t, 2)
	for _, c := range []struct {
		name   string
		before func(t *testing.T, m *Machine)
		want   State
	}{
		{"friend", func(t *testing.T, m *Machine) {
			m.Request(start, asks(to.ID, 5, ""))
			if err := m.Accept(start, to.ID); err != nil {
				t.Fatal(err)
			}
		}, Friend},
		{"incoming", func(*testing.T, *Machine) {}, Incoming},
	} {
		for _, relation := range []wire.Relation{wire.RelationRefused, wire.RelationRemoved} {
			t.Run(c.name, func(t *testing.T) {
				m := New(address(t, 1).ID)
				c.before(t, m)
				m.Request(start, asks(to.ID, 9, "")) // they have begun anew
				m.Take()
				m.State(start, to.ID, &wire.State{Relation: relation, Bond: 8})
				if p, _ := m.Person(to.ID); p.State != c.want || len(m.Take().Events) != 0 {
					t.Errorf("the end of what was before makes %v", p.State)
				}
				if c.want == Friend && (m.Rests(to.ID, 8) || !m.Rests(to.ID, 9)) {
					t.Errorf("bonds 8 and 9 count: %t and %t, want false and true", m.Rests(to.ID, 8), m.Rests(to.ID, 9))
				}
				m.State(start, to.ID, &wire.State{Relation: relation, Bond: 9})
				if p, _ := m.Person(to.ID); p.State == c.want || len(m.Take().Events) != 1 {
					t.Errorf("the end of what is leaves %v", p.State)
				}
			})
		}
	}
}

// Of who was refused once, a later request that has expired is remembered by its
// number: an earlier one stays dead, and ours is drawn above it, as they may have
// ended it since.
func TestNumberOfAnExpiredRequest(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	m.Request(start, asks(to.ID, 3, ""))
	if err := m.Refuse(start, to.ID); err != nil {
		t.Fatal(err)
	}
	number := uint64(start.Add(24 * time.Hour).UnixMilli()) // by a clock that is ahead
	last := asks(to.ID, number, "")
	last.Expiry = start.Add(time.Hour).UnixMilli()
	m.Request(start, last)
	now := start.Add(2 * time.Hour)
	m.Advance(now)
	m.Take()
	m.Request(now, asks(to.ID, number-1, "earlier"))
	if p, _ := m.Person(to.ID); p.State != None || m.Stats()["friendship.dropped.repeated"] != 1 {
		t.Errorf("an earlier request makes %v, counted %v", p.State, m.Stats())
	}
	if err := m.Add(now, to, ""); err != nil {
		t.Fatal(err)
	}
	if got := m.Take().Requests[0].Number; got != number+1 {
		t.Errorf("got number %d, want %d", got, number+1)
	}
}

// Nobody can learn of a removal during a block: after it, the removal is
// published for as long as any.
func TestRemovalOutlastsABlock(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	published := func() bool {
		relation, bond, publish := m.Standing(to.ID)
		return publish && relation == wire.RelationRemoved && bond == 5
	}
	m.Request(start, asks(to.ID, 5, ""))
	now := start
	for _, act := range []func(time.Time, crypto.ID) error{m.Accept, m.Remove, m.Block} {
		if err := act(now, to.ID); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(2 * RemovalLife)
	m.Advance(now)
	if published() {
		t.Error("published during the block")
	}
	if err := m.Unblock(now, to.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {RemovalLife - time.Second, true}, {RemovalLife, false}} {
		if m.Advance(now.Add(c.after)); published() != c.want {
			t.Errorf("%v after the block: published %t, want %t", c.after, published(), c.want)
		}
	}
}
