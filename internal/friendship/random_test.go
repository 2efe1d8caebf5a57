package friendship

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "run only the random schedule with this seed")

// TestRandomSchedules has two people do anything in any order, while requests
// are lost, repeated, replayed and seen late, states are missed, and nodes
// restart. Once both have seen what the other has out now, they must agree.
func TestRandomSchedules(t *testing.T) {
	schedules(t, 1_500, false)
}

// TestRandomSchedulesWithLostStores lets nodes lose their stores too, and read
// old states then. After that it may take an act of a person to agree again.
func TestRandomSchedulesWithLostStores(t *testing.T) {
	schedules(t, 1_000, true)
}

func schedules(t *testing.T, n uint64, losses bool) {
	t.Helper()
	if testing.Short() {
		n /= 4
	}
	first, last := uint64(1), n
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	ends := make(map[string]int)
	for seed := first; seed <= last; seed++ {
		s := newSchedule(seed, losses)
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { s.run(t) }) {
			t.Fatalf("replay with: go test -run '%s$' -seed %d", t.Name(), seed)
		}
		ends[s.pair()]++
		if s.lost {
			ends["lost"]++
		}
	}
	if *seedFlag != 0 {
		return
	}
	wanted := []string{"friend friend", "incoming requested", "none none", "none removed", "none refused"}
	if losses {
		wanted = []string{"friend friend", "incoming requested", "lost"}
	}
	for _, pair := range wanted {
		if ends[pair] == 0 {
			t.Errorf("no schedule ended with %s: %v", pair, ends)
		}
	}
}

// schedule is one random run.
type schedule struct {
	*world
	a, b   *node
	r      *rand.Rand
	losses bool
	lost   bool             // a store was lost at some time
	wanted map[*node]bool   // this person wants it: asked or accepted, and it has not ended since
	bonds  map[*node]uint64 // highest seen
}

func newSchedule(seed uint64, losses bool) *schedule {
	s := &schedule{
		world:  newWorld("alice", "bob"),
		r:      rand.New(rand.NewPCG(seed, 1)),
		losses: losses,
		wanted: make(map[*node]bool),
		bonds:  make(map[*node]uint64),
	}
	s.log = &strings.Builder{}
	s.a, s.b = s.nodes["alice"], s.nodes["bob"]
	if s.r.IntN(2) == 0 {
		s.b.skew = time.Duration(s.r.Int64N(int64(48*time.Hour))) - 24*time.Hour
	}
	return s
}

func (s *schedule) run(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", s.log)
		}
	}()
	for range 5 + s.r.IntN(60) {
		s.step(t)
		s.invariants(t)
	}
	for _, n := range []*node{s.a, s.b} {
		s.print("%s: unblocks", n.name)
		if err := n.m.Unblock(s.clock(n), s.other(n).id); err != nil {
			t.Fatal(err)
		}
		s.take(n)
	}
	s.rest(t)
	if s.agree() {
		return
	}
	s.pass(24 * time.Hour) // a request may have expired by one clock only
	s.rest(t)
	if s.agree() {
		return
	}
	if !s.lost {
		t.Fatalf("no agreement:\n%s", s.picture())
	}
	// Whoever misses the friend asks again; the third time at the latest the
	// number is above all that is remembered anywhere.
	for range 3 {
		for _, n := range []*node{s.a, s.b} {
			if x := s.other(n); n.m.people[x.id] == nil || s.state(n) != Friend {
				s.print("%s: asks again", n.name)
				if err := n.m.Add(s.clock(n), x.address(), "again"); err != nil {
					t.Fatal(err)
				}
				s.wanted[n] = true
				s.take(n)
			}
		}
		s.rest(t)
	}
	if s.pair() != "friend friend" || !s.agree() {
		t.Fatalf("no friends after asking again:\n%s", s.picture())
	}
}

func (s *schedule) rest(t *testing.T) {
	t.Helper()
	s.print("settle")
	if !s.settle() {
		t.Fatal("does not come to rest")
	}
	s.invariants(t)
}

func (s *schedule) other(n *node) *node {
	if n == s.a {
		return s.b
	}
	return s.a
}

func (s *schedule) step(t *testing.T) {
	t.Helper()
	n := s.a
	if s.r.IntN(2) == 0 {
		n = s.b
	}
	x := s.other(n)
	now := s.clock(n)
	s.now = s.now.Add(time.Duration(s.r.IntN(3)) * time.Millisecond)
	var err error
	switch s.r.IntN(24) {
	case 0, 1, 2:
		s.print("%s: ADD", n.name)
		if err = n.m.Add(now, x.address(), fmt.Sprint("hello ", s.r.IntN(2))); err == nil {
			s.wanted[n] = true
		}
	case 3, 4:
		s.print("%s: ACCEPT", n.name)
		if err = n.m.Accept(now, x.id); err == nil {
			s.wanted[n] = true
		}
	case 5:
		s.print("%s: REFUSE", n.name)
		err = n.m.Refuse(now, x.id)
	case 6, 7:
		s.print("%s: REMOVE", n.name)
		err = n.m.Remove(now, x.id)
	case 8:
		s.print("%s: BLOCK", n.name)
		err = n.m.Block(now, x.id)
	case 9, 10:
		s.print("%s: UNBLOCK", n.name)
		err = n.m.Unblock(now, x.id)
	case 11, 12, 13:
		s.print("%s: sees the request", n.name)
		s.seeRequest(x, n, -1)
	case 14:
		if list := s.requests[[2]string{x.name, n.name}]; len(list) > 0 {
			i := s.r.IntN(len(list))
			s.print("%s: sees request %d", n.name, i)
			s.seeRequest(x, n, i)
		}
	case 15, 16, 17:
		s.print("%s: sees the state", n.name)
		s.seeState(x, n)
	case 18, 19:
		i := s.r.IntN(3)
		s.print("%s: sees state %d", n.name, i)
		s.seeSome(x, n, i)
	case 20:
		s.print("%s: restarts", n.name)
		err = s.restart(n)
	case 21, 22:
		d := time.Duration(s.r.Int64N(int64(3 * time.Hour)))
		if s.r.IntN(8) == 0 {
			d = time.Duration(s.r.Int64N(int64(40 * 24 * time.Hour)))
		}
		s.print("%v pass", d)
		s.pass(d)
	case 23:
		if s.losses && s.r.IntN(4) == 0 {
			s.print("%s: loses the store", n.name)
			n.lose()
			s.lost = true
			s.wanted[n], s.bonds[n] = false, 0
			s.read[[2]string{x.name, n.name}] = 0
		}
	}
	if err != nil && short(err) == err.Error() {
		t.Fatalf("unexpected error: %v", err)
	}
	s.take(n)
}

func (s *schedule) state(n *node) State {
	p, _ := n.m.Person(s.other(n).id)
	return p.State
}

// pair names both states, the lower first.
func (s *schedule) pair() string {
	pair := []string{s.state(s.a).String(), s.state(s.b).String()}
	slices.Sort(pair)
	return strings.Join(pair, " ")
}

// agree reports whether what both hold of each other fits together: both are
// friends by the same bond, one has asked and the other is to answer, or both
// know that there is nothing.
func (s *schedule) agree() bool {
	over := func(x State) bool { return x == None || x == Refused || x == Removed || x == Expired }
	a, b := s.state(s.a), s.state(s.b)
	switch {
	case a == Friend && b == Friend:
		_, bondA, _ := s.a.m.Standing(s.b.id)
		_, bondB, _ := s.b.m.Standing(s.a.id)
		return bondA == bondB && s.wanted[s.a] && s.wanted[s.b] &&
			s.a.m.Rests(s.b.id, bondA) && len(s.a.puts)+len(s.b.puts) == 0
	case a == Requested && b == Incoming, a == Incoming && b == Requested:
		return true
	}
	return over(a) && over(b)
}

// invariants are true at any time.
func (s *schedule) invariants(t *testing.T) {
	t.Helper()
	s.check(t)
	for _, n := range []*node{s.a, s.b} {
		p, _ := n.m.Person(s.other(n).id)
		switch p.State {
		case None, Refused, Removed:
			if x := n.m.people[s.other(n).id]; x == nil || x.ours <= x.ended {
				s.wanted[n] = false // else they have ended what was before our request
			}
		case Friend:
			if !s.wanted[n] {
				t.Fatalf("%s is made a friend without having asked or accepted:\n%s", n.name, s.picture())
			}
			if p.Bond < s.bonds[n] {
				t.Fatalf("the bond of %s falls from %s to %s", n.name, s.number(s.bonds[n]), s.number(p.Bond))
			}
			s.bonds[n] = p.Bond
		case Requested, Incoming, Expired:
		}
	}
}
