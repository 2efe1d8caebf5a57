package friendship

import (
	"math"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// flood has strangers ask, one every second from now on, and returns when it was
// over.
func flood(m *Machine, now time.Time, first, count int) time.Time {
	for i := range count {
		now = now.Add(time.Second)
		m.Request(now, asks(stranger(first+i), maxNumber, "buy"))
	}
	return now
}

// pending lists whose requests wait, strangers or not.
func pendingOf(m *Machine) map[crypto.ID]bool {
	ids := map[crypto.ID]bool{}
	for p := range m.People() {
		if p.State == Incoming {
			ids[p.ID] = true
		}
	}
	return ids
}

// TestPendingRequestsAreBounded: a flood of strangers takes the places there are
// and no more, each new one is shown, and for each of them another is withdrawn.
func TestPendingRequestsAreBounded(t *testing.T) {
	m := New(address(t, 1).ID)
	const n = 10_000
	rows := map[crypto.ID]bool{}
	shown, withdrawn := 0, 0
	for i := range n {
		m.Request(start, asks(stranger(i), maxNumber, "buy"))
		o := m.Take()
		for _, r := range o.Rows {
			if rows[r.Owner] = true; r.Value == nil {
				delete(rows, r.Owner)
			}
		}
		for _, e := range o.Events {
			switch e.Kind {
			case RequestReceived:
				shown++
			case RequestWithdrawn:
				withdrawn++
			default:
				t.Fatalf("got event %v", e.Kind)
			}
		}
		if len(m.people) > MaxIncoming || len(rows) > MaxIncoming || len(m.crowded) > MaxCrowded {
			t.Fatalf("after %d requests: %d people, %d rows, %d remembered", i+1, len(m.people), len(rows), len(m.crowded))
		}
	}
	if shown != n || withdrawn != n-MaxIncoming || len(rows) != MaxIncoming || len(m.crowded) != MaxCrowded {
		t.Errorf("%d shown, %d withdrawn, %d rows, %d remembered; want %d, %d, %d, %d",
			shown, withdrawn, len(rows), len(m.crowded), n, n-MaxIncoming, MaxIncoming, MaxCrowded)
	}
	// The newer request of somebody who has a place takes no other's.
	before := pendingOf(m)
	var one crypto.ID
	for one = range before {
		break
	}
	if p, _ := m.Person(one); p.Theirs.Number != maxNumber {
		t.Fatal("numbers of the flood are not the highest")
	}
	if err := m.Refuse(start, one); err != nil {
		t.Fatal(err)
	}
	m.Request(start, asks(stranger(n), 5, "hi"))
	if p, _ := m.Person(stranger(n)); p.State != Incoming {
		t.Errorf("the place that became free is not given: %v", p.State)
	}
	m.Request(start, asks(stranger(n), 6, "hello?"))
	if p, _ := m.Person(stranger(n)); p.Hello != "hello?" {
		t.Errorf("got hello %q", p.Hello)
	}
	for id := range pendingOf(m) {
		if delete(before, id); len(before) == 0 {
			t.Error("nobody's place was given away")
		}
	}
	if len(before) != 1 || !before[one] {
		t.Errorf("%d others lost their places", len(before)-1)
	}
	// All that is not answered goes when it expires; it takes no rows then.
	m.Take()
	m.Advance(start.Add(RequestLife))
	gone := 0
	for _, r := range m.Take().Rows {
		if r.Value == nil {
			gone++
		}
	}
	if gone != MaxIncoming || len(m.people) != 1 || m.incoming != 0 {
		t.Errorf("got %d rows deleted, %d people, %d pending, want %d, 1, 0", gone, len(m.people), m.incoming, MaxIncoming)
	}
}

// TestHonestRequestAmongAFlood: it is shown when it is first found, stays for a
// fair while, and comes back by turns when it had to give way.
func TestHonestRequestAmongAFlood(t *testing.T) {
	const runs = 40
	honest := stranger(1 << 20)
	stayed, away, back := 0, 0, 0
	for range runs {
		m := New(address(t, 1).ID)
		now := flood(m, start, 0, 300)
		m.Request(now, asks(honest, 5, "it's Carol"))
		if p, _ := m.Person(honest); p.State != Incoming {
			t.Fatalf("a new request found no place: %v", p.State)
		}
		for i := 300; ; i++ {
			now = flood(m, now, i, 1)
			if p, _ := m.Person(honest); p.State != Incoming {
				break
			}
			stayed++
		}
		// The flood has stopped, but stands in the DHT: all is found again and
		// again, in whatever order.
		for i := 0; ; i++ {
			now = now.Add(time.Second)
			id := stranger(i % 500)
			if i%20 == 7 {
				id = honest
			}
			m.Request(now, asks(id, 5, "again"))
			if p, _ := m.Person(honest); p.State == Incoming {
				break
			}
			if away++; i > 100_000 {
				t.Fatal("it never came back")
			}
		}
		for i := range 64 {
			now = now.Add(time.Second)
			m.Request(now, asks(stranger(i), 5, "again"))
		}
		if p, _ := m.Person(honest); p.State == Incoming {
			back++
		}
	}
	// 256 places: it stays for 256 newcomers in the mean, and so it does not for
	// one in some hundred of those who are found again within a minute.
	if mean := stayed / runs; mean < MaxIncoming/2 || mean > 2*MaxIncoming {
		t.Errorf("it stayed for %d newcomers in the mean, want about %d", mean, MaxIncoming)
	}
	t.Logf("stayed for %d newcomers in the mean, came back after %d requests that were found again", stayed/runs, away/runs)
	if back < runs*9/10 {
		t.Errorf("it was still there a minute after it came back in %d of %d runs", back, runs)
	}
}

// TestFloodThatHasStopped: what is found again for ever does not go round in our
// places for ever.
func TestFloodThatHasStopped(t *testing.T) {
	m := New(address(t, 1).ID)
	const n = 2000
	now := flood(m, start, 0, n)
	m.Take()
	shown := 0
	for i := range 4 * 3600 { // four times a second, as nobody could read it
		m.Request(now.Add(time.Duration(i)*time.Second/4), asks(stranger(i%n), maxNumber, "buy"))
		for _, e := range m.Take().Events {
			if e.Kind == RequestReceived {
				shown++
			}
		}
	}
	if shown < 50 || shown > 61 {
		t.Errorf("%d requests were shown again in an hour, want one a minute", shown)
	}
	if m.Stats()["friendship.dropped.full"] == 0 {
		t.Error("nothing was dropped and counted")
	}
	// A new one is not held up by those.
	m.Request(now.Add(time.Hour), asks(stranger(n), 5, "hi"))
	if p, _ := m.Person(stranger(n)); p.State != Incoming {
		t.Errorf("a new request is %v", p.State)
	}
	// When we make room, those that gave way take it at once.
	for id := range pendingOf(m) {
		if err := m.Refuse(now, id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		m.Request(now.Add(time.Hour), asks(stranger(i), maxNumber, "buy"))
	}
	if got := len(pendingOf(m)); got != MaxIncoming {
		t.Errorf("%d are pending, want %d", got, MaxIncoming)
	}
	// Nor does a clock that was set back.
	m.turned = now.Add(time.Hour)
	for c := range m.crowded {
		if m.people[c.from] == nil {
			m.Request(now, asks(c.from, maxNumber, "buy"))
			if !pendingOf(m)[c.from] {
				t.Error("none has its turn after the clock was set back")
			}
			break
		}
	}
}

// TestNewNospamEndsAFlood: what came by the old address gives way to all who know
// the new one, also to those who had to give way before.
func TestNewNospamEndsAFlood(t *testing.T) {
	m := New(address(t, 1).ID)
	now := flood(m, start, 0, 1000)
	var ask []crypto.ID
	for c := range m.crowded {
		if ask = append(ask, c.from); len(ask) == MaxIncoming/2 {
			break
		}
	}
	for i := range MaxIncoming - len(ask) {
		ask = append(ask, stranger(10_000+i))
	}
	m.Take()
	for i, id := range ask {
		r := asks(id, maxNumber, "by the new address")
		r.Nospam = crypto.Nospam{2}
		m.Request(now, r)
		for _, id := range ask[:i+1] {
			if p, _ := m.Person(id); p.State != Incoming || p.Theirs.Nospam != r.Nospam {
				t.Fatalf("%d have asked by the new address, and one of them found no place: %v", i+1, p.State)
			}
		}
	}
	if o := m.Take(); len(o.Events) != 2*len(ask) || o.Events[0].Kind != RequestWithdrawn || o.Events[1].Kind != RequestReceived {
		t.Errorf("%d events, want two for each that gave way", len(o.Events))
	}
	if got := len(pendingOf(m)); got != MaxIncoming {
		t.Errorf("%d are pending, want %d", got, MaxIncoming)
	}
}

// TestKnownPeopleNeedNoRoom: a request of somebody whom we asked, or who was a
// friend, displaces nobody and is displaced by nobody.
func TestKnownPeopleNeedNoRoom(t *testing.T) {
	m := New(address(t, 1).ID)
	removed, refused := address(t, 2), address(t, 3)
	for _, a := range []crypto.Address{removed, refused} {
		if err := m.Add(start, a, ""); err != nil {
			t.Fatal(err)
		}
	}
	number := uint64(start.UnixMilli())
	m.State(start, removed.ID, &wire.State{Relation: wire.RelationFriend, Bond: number})
	if err := m.Remove(start, removed.ID); err != nil {
		t.Fatal(err)
	}
	m.State(start, refused.ID, &wire.State{Relation: wire.RelationRefused, Bond: number})
	now := flood(m, start, 0, 2*MaxIncoming)
	before := pendingOf(m)
	for _, a := range []crypto.Address{removed, refused} {
		m.Request(now, asks(a.ID, number+1, "it's me"))
	}
	for id := range before {
		if p, _ := m.Person(id); p.State != Incoming {
			t.Fatal("somebody gave way to them")
		}
	}
	now = flood(m, now, 10_000, 20*MaxIncoming)
	for _, a := range []crypto.Address{removed, refused} {
		if p, _ := m.Person(a.ID); p.State != Incoming {
			t.Errorf("a known person's request gave way to a flood: %v", p.State)
		}
		if err := m.Accept(now, a.ID); err != nil {
			t.Error(err)
		}
	}
	if m.incoming != MaxIncoming {
		t.Errorf("counts %d strangers, want %d", m.incoming, MaxIncoming)
	}
}

// TestAnsweredRequestsStayAnswered: a flood moves neither friends nor refusals.
func TestAnsweredRequestsStayAnswered(t *testing.T) {
	m := New(address(t, 1).ID)
	for i := range 3 {
		m.Request(start, asks(stranger(1<<20+i), 5, ""))
	}
	for _, err := range []error{
		m.Accept(start, stranger(1<<20)), m.Refuse(start, stranger(1<<20+1)), m.Block(start, stranger(1<<20+2)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	flood(m, start, 0, 20*MaxIncoming)
	if p, _ := m.Person(stranger(1 << 20)); p.State != Friend {
		t.Errorf("the friend is %v", p.State)
	}
	if relation, _, publish := m.Standing(stranger(1<<20 + 1)); relation != wire.RelationRefused || !publish {
		t.Errorf("the refused one is told %d, %t", relation, publish)
	}
	if p, _ := m.Person(stranger(1<<20 + 2)); !p.Blocked {
		t.Error("the blocked one is not")
	}
}

// TestStoredRequestIsRemembered: by the row, until another takes its place.
func TestStoredRequestIsRemembered(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	stored := func(want bool) {
		t.Helper()
		if p, _ := m.Person(to.ID); p.Stored != want || p.State != Requested {
			t.Errorf("%v, stored is %t; want %t", p.State, p.Stored, want)
		}
	}
	m.Stored(to.ID) // nobody we asked
	if err := m.Add(start, to, "hi"); err != nil {
		t.Fatal(err)
	}
	m.Take()
	stored(false)
	for range 2 {
		m.Stored(to.ID)
	}
	stored(true)
	o := m.Take()
	if len(o.Rows) != 1 || len(o.Events) != 1 || o.Events[0].Kind != RequestStored || len(o.Requests) != 0 {
		t.Fatalf("got %+v, want a row and an event, once", o)
	}
	again := New(address(t, 1).ID)
	if err := again.Restore(to.ID, o.Rows[0].Value); err != nil {
		t.Fatal(err)
	}
	if m = again; m.Take().Requests == nil {
		t.Error("it is not put any more after a restart")
	}
	stored(true)
	if err := m.Add(start, to, "hello?"); err != nil {
		t.Fatal(err)
	}
	stored(false)
	if err := m.Block(start, to.ID); err != nil {
		t.Fatal(err)
	}
	m.Stored(to.ID) // of a put that was under way
	stored(false)
	m.Request(start, asks(to.ID, math.MaxInt64, "")) // numbers beyond the highest stay out
	stored(false)
}
