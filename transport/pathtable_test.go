package transport

import (
	"net/netip"
	"testing"
	"time"
)

// pathTest is a path table in the hands of a test, with the time.
type pathTest struct {
	*pathTable
	t   *testing.T
	now time.Duration
	pn  uint64
}

var (
	pathWay = &direct{}
	placeA  = netip.MustParseAddrPort("192.0.2.1:1001")
	placeB  = netip.MustParseAddrPort("192.0.2.2:1002")
	placeC  = netip.MustParseAddrPort("192.0.2.3:1003")
)

const pathTrip = 100 * time.Millisecond

// newPathTest begins at placeA.
func newPathTest(t *testing.T, leads bool) *pathTest {
	name := func(index uint32) connID { return connID{byte(index >> 8), byte(index)} }
	return &pathTest{t: t, pathTable: newPathTable(leads, name, pathWay, placeA)}
}

// comes is a packet from a place, the newest one.
func (x *pathTest) comes(from netip.AddrPort, probe bool, size int) (*path, bool) {
	x.pn++
	return x.received(x.now, pathTrip, inbound{pathWay, from, 0, x.pn, size, probe})
}

// data is a packet that is no probe; it says where we send then.
func (x *pathTest) data(from netip.AddrPort) netip.AddrPort {
	x.comes(from, false, maxProbe)
	return x.current.remote
}

// probes takes all probes that are due.
func (x *pathTest) probes() (list []probe) {
	for range 100 {
		b, ok := x.probe(x.now)
		if !ok {
			return list
		}
		list = append(list, b)
	}
	x.t.Fatal("probes have no end")
	return nil
}

// asked takes the challenge to a place that is due; false if there is none.
func (x *pathTest) asked(at netip.AddrPort) (token [8]byte, ok bool) {
	for _, b := range x.probes() {
		if b.asks && b.path.remote == at {
			token, ok = b.challenge, true
		}
	}
	return token, ok
}

// pass lets time go by.
func (x *pathTest) pass(d time.Duration) {
	for until := x.now + d; x.now < until; {
		x.now = min(max(x.next(), x.now+time.Millisecond), until)
		x.advance(x.now)
	}
}

func (x *pathTest) wantAt(at netip.AddrPort) {
	x.t.Helper()
	if x.current.remote != at {
		x.t.Errorf("after %v the path is %v, want %v", x.now, x.current.remote, at)
	}
}

// TestPathFollows: the end that does not lead goes where the newest packet came
// from, once it has an answer from there.
func TestPathFollows(t *testing.T) {
	x := newPathTest(t, false)
	if x.data(placeB) != placeA {
		t.Fatal("it went before it had an answer")
	}
	token, ok := x.asked(placeB)
	if !ok {
		t.Fatal("it did not ask")
	}
	if x.responded(x.now, [8]byte{1}) || x.responded(x.now, [8]byte{}) {
		t.Error("it went on a wrong answer")
	}
	x.now += pathTrip
	if !x.responded(x.now, token) {
		t.Error("it did not go on the answer")
	}
	x.wantAt(placeB)
	if x.current.rtt != pathTrip {
		t.Errorf("round trip %v, want %v", x.current.rtt, pathTrip)
	}
	if _, ok := x.asked(placeA); !ok {
		t.Error("it does not ask the path it has left")
	}
	if x.responded(x.now, token) {
		t.Error("an answer counts twice")
	}
	// The place it has left is known: the peer may come back at once.
	if x.data(placeA) != placeA {
		t.Error("it did not go back with the peer")
	}
	// But not for ever.
	x.data(placeB)
	x.pass(provenFor)
	if x.data(placeA) != placeB {
		t.Error("it went back after a long time without asking")
	}
}

// TestPathOldNumbers: late packets, and probes, move nobody.
func TestPathOldNumbers(t *testing.T) {
	x := newPathTest(t, false)
	x.pn = 10
	x.data(placeA)
	if p, changed := x.received(x.now, pathTrip, inbound{pathWay, placeB, 0, 5, maxProbe, false}); p != nil || changed || len(x.all) != 1 {
		t.Errorf("a late packet made the path %v", p)
	}
	x.comes(placeB, true, maxProbe)
	token, ok := x.asked(placeB)
	if !ok {
		t.Fatal("the place a probe came from is not asked")
	}
	if x.responded(x.now, token) {
		t.Error("it followed a probe")
	}
	// Since it has answered, the peer is followed there at once.
	if x.data(placeB) != placeB {
		t.Error("it did not go to the place that had answered")
	}
	if x.received(x.now, pathTrip, inbound{pathWay, placeA, 0, x.pn - 1, maxProbe, false}); x.current.remote != placeB {
		t.Error("it went back with a late packet")
	}
}

// TestPathCopied: somebody who passes packets on faster from elsewhere does not
// keep the path when the peer's own packets come again.
func TestPathCopied(t *testing.T) {
	for _, leads := range []bool{false, true} {
		x := newPathTest(t, leads)
		x.data(placeB) // a copy that was faster
		token, _ := x.asked(placeB)
		x.data(placeA) // the peer's next packet
		x.now += pathTrip
		x.responded(x.now, token) // passed on as well
		x.wantAt(placeA)

		// The copier keeps at it until we go, if we do.
		x.pass(2 * time.Second)
		for range 20 {
			x.data(placeB)
			if token, ok := x.asked(placeB); ok {
				x.responded(x.now, token)
			}
			x.pass(pathTrip)
		}
		// Then the peer is heard by its own way again.
		for range 3 {
			x.data(placeA)
			if token, ok := x.asked(placeA); ok {
				x.responded(x.now, token)
			}
			x.pass(pathTrip)
		}
		x.wantAt(placeA)
	}
}

// TestPathLeads: the end that leads follows only if its own path is dead.
func TestPathLeads(t *testing.T) {
	x := newPathTest(t, true)
	answer := func(places ...netip.AddrPort) (changed bool) {
		list := x.probes()
		for _, at := range places {
			for _, b := range list {
				if b.asks && b.path.remote == at {
					changed = x.responded(x.now, b.challenge) || changed
				}
			}
		}
		return changed
	}
	x.data(placeB)
	if answer(placeB, placeA) || answer(placeA, placeB) {
		t.Error("it went, though both ways work")
	}
	x.pass(5 * time.Second)
	x.wantAt(placeA)
	if x.data(placeB) != placeA {
		t.Error("it went at once, because there was an answer from there before")
	}

	for range 3 { // packets go on to come from there
		x.data(placeB)
		x.probes()
		x.pass(10 * time.Millisecond)
	}
	begun := x.now
	x.pass(time.Millisecond)
	x.data(placeB)
	list := x.probes()
	x.now += pathTrip
	for _, b := range list {
		if b.path.remote == placeB {
			x.responded(x.now, b.challenge)
		}
	}
	for range 300 {
		if x.current.remote == placeB {
			break
		}
		x.pass(5 * time.Millisecond)
		for _, b := range x.probes() {
			if b.asks && b.path.remote == placeB {
				x.responded(x.now, b.challenge)
			}
		}
	}
	x.wantAt(placeB)
	if took := x.now - begun; took > 600*time.Millisecond {
		t.Errorf("it followed after %v", took)
	}
	if at := x.next(); at <= x.now {
		t.Errorf("it wants to be called at %v when it is %v and nothing is to be done", at, x.now)
	}

	// What ICE proposes is used as soon as it answers, by either end.
	for _, leads := range []bool{true, false} {
		x := newPathTest(t, leads)
		x.propose(x.now, pathWay, placeC)
		token, ok := x.asked(placeC)
		if !ok || !x.responded(x.now, token) {
			t.Error("the path that ICE proposed is not used")
		}
		x.wantAt(placeC)
	}
}

// TestPathsAgree: two ends on different paths that both work come to one.
func TestPathsAgree(t *testing.T) {
	ends := [2]*pathTest{newPathTest(t, true), newPathTest(t, false)}
	for _, x := range ends { // both know both
		x.propose(0, pathWay, placeB)
		token, _ := x.asked(placeB)
		x.responded(0, token)
	}
	ends[1].use(0, ends[1].find(pathWay, placeA))
	flips := 0
	for range 200 {
		for i, x := range ends {
			o := ends[1-i]
			x.now += 5 * time.Millisecond
			x.advance(x.now)
			before := o.current
			for _, b := range x.probes() {
				p, _ := o.comes(b.path.remote, true, b.size)
				if b.asks {
					o.challenged(p, b.challenge, b.size)
				}
				if b.answers {
					o.responded(o.now, b.response)
				}
			}
			o.data(x.current.remote)
			if o.current != before {
				flips++
			}
		}
	}
	if ends[0].current.remote != placeB || ends[1].current.remote != placeB {
		t.Errorf("they are at %v and %v, want what the end that leads had", ends[0].current.remote, ends[1].current.remote)
	}
	if flips > 3 {
		t.Errorf("the path changed %d times", flips)
	}
}

// TestPathDoubt: when the peer is not heard the first path to answer is used,
// and no other after it.
func TestPathDoubt(t *testing.T) {
	x := newPathTest(t, false)
	for _, at := range []netip.AddrPort{placeB, placeC} {
		x.comes(at, true, maxProbe)
		token, _ := x.asked(at)
		x.responded(x.now, token)
	}
	x.pass(time.Second)
	x.wantAt(placeA)
	x.askAll(x.now)
	tokens := map[netip.AddrPort][8]byte{}
	for _, b := range x.probes() {
		tokens[b.path.remote] = b.challenge
	}
	if len(tokens) != 3 {
		t.Fatalf("%d paths are asked, want 3", len(tokens))
	}
	x.responded(x.now, tokens[placeC])
	x.wantAt(placeC)
	x.responded(x.now, tokens[placeB])
	x.responded(x.now, tokens[placeA])
	x.wantAt(placeC)
}

// TestPathGivesUp: a path that does not answer is asked 12 times and forgotten;
// the current one stays.
func TestPathGivesUp(t *testing.T) {
	x := newPathTest(t, true)
	x.propose(0, pathWay, placeB)
	x.askAll(0)
	asks := map[netip.AddrPort]int{}
	for range 4000 {
		for _, b := range x.probes() {
			asks[b.path.remote]++
		}
		x.pass(time.Millisecond)
	}
	if asks[placeA] != challengeTries || asks[placeB] != challengeTries {
		t.Errorf("asked %v times, want %d", asks, challengeTries)
	}
	if len(x.all) != 1 || x.goal != nil {
		t.Errorf("%d paths are known, want the current one", len(x.all))
	}
	if x.next() != noTime {
		t.Errorf("something is due at %v", x.next())
	}
}

// TestPathBudget: an address that has not answered gets no more bytes than came
// from there, whatever it is sent for.
func TestPathBudget(t *testing.T) {
	x := newPathTest(t, false)
	came, went := 0, 0
	take := func() {
		for _, b := range x.probes() {
			if b.path.remote == placeB {
				went += b.size
			}
		}
		if went > came {
			t.Fatalf("%d bytes for %d", went, came)
		}
	}
	for i := range 200 {
		size := 30 + i%80
		came += size
		p, _ := x.comes(placeB, i%2 == 0, size)
		x.challenged(p, [8]byte{byte(i)}, size)
		take()
		x.pass(20 * time.Millisecond)
		take()
	}
	if went == 0 {
		t.Error("nothing was sent")
	}
}

// TestPathAnswers: no answer is longer than what asked for it, and few wait.
func TestPathAnswers(t *testing.T) {
	x := newPathTest(t, false)
	for i := range 100 {
		p, _ := x.comes(placeA, true, dataOverhead+probeFrame)
		x.challenged(p, [8]byte{byte(i)}, dataOverhead+probeFrame)
	}
	list := x.probes()
	if len(list) != maxAnswers {
		t.Errorf("%d answers wait, want %d", len(list), maxAnswers)
	}
	for _, b := range list {
		if b.size > dataOverhead+probeFrame {
			t.Errorf("an answer of %d bytes to a question of %d", b.size, dataOverhead+probeFrame)
		}
	}
	if x.challenged(nil, [8]byte{}, 100); len(x.probes()) > 0 {
		t.Error("a challenge from nowhere is answered")
	}
}

// TestPathChurn: packets from ever other places neither push out the paths that
// work nor run out of connection IDs, and the next true one is still followed.
func TestPathChurn(t *testing.T) {
	x := newPathTest(t, false)
	x.propose(0, pathWay, placeB)
	token, _ := x.asked(placeB)
	x.responded(0, token)
	x.use(0, x.find(pathWay, placeA))
	known := x.ids.known()
	for i := range 10_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 2000)
		x.comes(from, false, 100)
		for _, b := range x.probes() {
			index := uint32(b.path.id[0])<<8 | uint32(b.path.id[1])
			if index >= known {
				t.Fatalf("a packet bears ID %d, and the peer knows %d", index, known)
			}
		}
		x.pass(time.Millisecond)
	}
	if len(x.all) > maxPaths || len(x.ids.free) > 2*maxPaths {
		t.Errorf("%d paths, %d free IDs", len(x.all), len(x.ids.free))
	}
	x.wantAt(placeA)
	if x.find(pathWay, placeB) == nil {
		t.Error("a path that ICE found was pushed out")
	}
	before := x.current.id
	x.data(placeC)
	if token, ok := x.asked(placeC); !ok || !x.responded(x.now, token) {
		t.Error("the peer is not followed any more")
	}
	if x.current.id == before {
		t.Error("the new path bears the ID of the one before")
	}
}

// TestPathIDs: each path has an ID of its own, the peer's known ones are never
// outrun, and there is an end to them.
func TestPathIDs(t *testing.T) {
	x := newPathTest(t, true)
	used := map[connID]netip.AddrPort{}
	for i := range 3 * maxIDs {
		at := netip.AddrPortFrom(placeB.Addr(), uint16(2000+i))
		x.propose(x.now, pathWay, at)
		token, ok := x.asked(at)
		if !ok || !x.responded(x.now, token) {
			t.Fatalf("path %d is not used", i)
		}
		if was, ok := used[x.current.id]; ok && i < maxIDs-2*maxPaths {
			t.Fatalf("path %d bears the ID of %v", i, was)
		}
		used[x.current.id] = at
		if x.ids.known() > maxIDs {
			t.Fatalf("%d IDs are known", x.ids.known())
		}
		x.pass(time.Millisecond)
	}

	// When our own address changes, the name does too, as long as the peer follows.
	x = newPathTest(t, false)
	seen := map[connID]bool{x.current.id: true}
	for range 5 {
		x.moved(x.now)
		if seen[x.current.id] {
			t.Error("the name is the one of before")
		}
		seen[x.current.id] = true
		token, _ := x.asked(placeA)
		x.responded(x.now, token)
	}
	for range 100 { // and is not heard
		x.moved(x.now)
		if index := uint32(x.current.id[0])<<8 | uint32(x.current.id[1]); index > x.ids.proof+spareIDs {
			t.Fatalf("our packets bear ID %d, the peer knows up to %d", index, x.ids.proof+spareIDs)
		}
	}

	// The peer's new name has us take that of the same index.
	x = newPathTest(t, false)
	x.received(x.now, pathTrip, inbound{pathWay, placeA, 3, 1, 100, false})
	if x.current.out != 3 || x.current.id != x.ids.name(3) {
		t.Errorf("our packets bear ID %d, want 3", x.current.out)
	}
	if x.ids.known() < 4+spareIDs {
		t.Errorf("%d IDs are known", x.ids.known())
	}
}

// TestPathKinds tells where packets travel.
func TestPathKinds(t *testing.T) {
	for at, want := range map[string]PathKind{
		"192.168.1.2:1": PathLAN, "10.0.0.1:1": PathLAN, "127.0.0.1:1": PathLAN, "[fd00::1]:1": PathLAN, "[fe80::1]:1": PathLAN,
		"8.8.8.8:1": PathDirect, "[2001:db8::1]:1": PathDirect,
	} {
		if got := kindOf(pathWay, netip.MustParseAddrPort(at)); got != want {
			t.Errorf("%s is %v, want %v", at, got, want)
		}
	}
	if got := kindOf(&relay{}, placeA); got != PathRelay {
		t.Errorf("by a relay it is %v", got)
	}
	for kind, want := range map[PathKind]string{PathNone: "none", PathLAN: "lan", PathDirect: "direct", PathRelay: "relay"} {
		if kind.String() != want {
			t.Errorf("%d is %q, want %q", kind, kind.String(), want)
		}
	}
}
