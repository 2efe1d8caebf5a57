package transport

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

// muxRig is a mux whose sockets are a list, at a time of its own.
type muxRig struct {
	*mux
	mu   sync.Mutex
	time time.Time
	sent []muxSent
	fail error
}

type muxSent struct {
	b  []byte
	to netip.AddrPort
}

var (
	muxAddr4 = netip.MustParseAddrPort("10.0.0.1:4000")
	muxAddr6 = netip.MustParseAddrPort("[2001:db8::1]:4000")
	muxPeer4 = netip.MustParseAddrPort("192.0.2.9:5000")
	muxPeer6 = netip.MustParseAddrPort("[2001:db8::9]:5000")
)

func newMuxRig() *muxRig {
	r := &muxRig{time: time.Unix(1e9, 0)}
	r.mux = newMux(muxConfig{send: r.send, bases: []netip.AddrPort{muxAddr4, muxAddr6}, now: r.clock})
	return r
}

func (r *muxRig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.time
}

func (r *muxRig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.time = r.time.Add(d)
}

func (r *muxRig) send(b []byte, to netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.sent = append(r.sent, muxSent{bytes.Clone(b), to})
	return nil
}

// conn opens the conn of an agent on the socket of base's family.
func (r *muxRig) conn(t testing.TB, ufrag string, base netip.AddrPort) *muxConn {
	t.Helper()
	c, err := r.GetConn(ufrag, net.UDPAddrFromAddrPort(base))
	if err != nil {
		t.Fatal(err)
	}
	return c.(*muxConn)
}

// wantDrops compares the counters, and sets them to zero.
func (r *muxRig) wantDrops(t testing.TB, want map[muxDrop]uint64) {
	t.Helper()
	named := make(map[string]uint64)
	for d, n := range want {
		named["mux.dropped."+d.String()] = n
	}
	if got := r.counters(); !maps.Equal(got, named) {
		t.Errorf("dropped %v, want %v", got, named)
	}
	for i := range r.drops {
		r.drops[i].Store(0)
	}
}

// wantEmpty holds that nothing is left.
func (m *mux) wantEmpty(t testing.TB) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, k, h := len(m.agents), len(m.checks), len(m.handshakes); a+k+h != 0 {
		t.Errorf("left in the mux: %d agents, %d checks, %d handshakes", a, k, h)
	}
}

// muxQueued takes what waits in a queue, without waiting itself.
func muxQueued(t testing.TB, q *muxQueue) (packets []muxPacket) {
	t.Helper()
	q.mu.Lock()
	n := len(q.packets)
	q.mu.Unlock()
	for range n {
		p, err := q.pop()
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	return packets
}

// wantQueued compares what waits in a queue.
func wantQueued(t testing.TB, q *muxQueue, want ...[]byte) {
	t.Helper()
	got := muxQueued(t, q)
	if !slices.EqualFunc(got, want, func(p muxPacket, b []byte) bool { return bytes.Equal(p.b, b) }) {
		t.Errorf("%d datagrams wait: %v, want %d: %v", len(got), got, len(want), want)
	}
}

func writeMux(t testing.TB, c *muxConn, b []byte, to netip.AddrPort) {
	t.Helper()
	if n, err := c.WriteTo(b, net.UDPAddrFromAddrPort(to)); n != len(b) || err != nil {
		t.Errorf("WriteTo = %d, %v, want %d", n, err, len(b))
	}
}

func TestMuxListenAddresses(t *testing.T) {
	m := newMux(muxConfig{bases: []netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:4000"), muxAddr4, muxAddr6, netip.MustParseAddrPort("[::]:4000"), {},
	}})
	if got, want := fmt.Sprint(m.GetListenAddresses()), fmt.Sprint([]net.Addr{
		&net.UDPAddr{IP: net.IPv4zero, Port: 4000}, net.UDPAddrFromAddrPort(muxAddr6),
	}); got != want {
		t.Errorf("GetListenAddresses = %s, want one a family: %s", got, want)
	}
	only4 := newMux(muxConfig{bases: []netip.AddrPort{muxAddr4}})
	if _, err := only4.GetConn("u", net.UDPAddrFromAddrPort(muxAddr6)); err == nil {
		t.Error("a conn of a family without socket")
	}
	if _, err := only4.GetConn("u", &net.TCPAddr{}); err == nil {
		t.Error("a conn of another network")
	}
	only4.wantEmpty(t)
	only4.handleSTUN(checkOf(t, "u", "x", 1), muxPeer6) // from a family without socket: nothing to do, and no fault
	only4.handleHandshake(make([]byte, 20), muxPeer6)
}

func TestMuxRequests(t *testing.T) {
	r := newMuxRig()
	a4, a6, b4 := r.conn(t, "aaaa", muxAddr4), r.conn(t, "aaaa", muxAddr6), r.conn(t, "bbbb", muxAddr4)
	toA, toA6, toB := checkOf(t, "aaaa", "x", 1), checkOf(t, "aaaa", "x", 2), checkOf(t, "bbbb", "y", 3)
	r.handleSTUN(toA, muxPeer4)
	r.handleSTUN(toA6, muxPeer6)
	r.handleSTUN(toB, netip.AddrPortFrom(netip.AddrFrom16(muxPeer4.Addr().As16()), muxPeer4.Port())) // the same, 4-in-6
	wantQueued(t, a4.queue, toA)
	wantQueued(t, a6.queue, toA6)
	wantQueued(t, b4.queue, toB)
	r.wantDrops(t, nil)

	r.handleSTUN(checkOf(t, "cccc", "x", 1), muxPeer4)
	r.handleSTUN(checkOf(t, "bbbb", "x", 1), muxPeer6) // no conn of that family
	r.handleSTUN(bindingRequest(stunID{1}), muxPeer4)
	r.handleSTUN(toA[:len(toA)-1], muxPeer4)
	r.handleSTUN(make([]byte, maxSTUN+1), muxPeer4)
	r.handleSTUN(buildSTUN(t, stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)), muxPeer4)
	r.handleSTUN(buildSTUN(t, stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropNoAgent: 3, dropMalformed: 1, dropOversize: 1, dropMethod: 2})

	for range muxQueueLen + 5 {
		r.handleSTUN(toA, muxPeer4)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropQueueFull: 5})
	if got := len(muxQueued(t, a4.queue)); got != muxQueueLen {
		t.Errorf("%d checks wait, want %d", got, muxQueueLen)
	}
}

// TestMuxAnswers holds that answers from one address go to whoever asked.
func TestMuxAnswers(t *testing.T) {
	r := newMuxRig()
	a, b := r.conn(t, "aaaa", muxAddr4), r.conn(t, "bbbb", muxAddr4)
	writeMux(t, a, checkOf(t, "x", "aaaa", 1), muxPeer4)
	writeMux(t, b, checkOf(t, "y", "bbbb", 2), muxPeer4)
	forA, forB := answerOf(t, 1, muxAddr4), answerOf(t, 2, muxAddr4)

	r.handleSTUN(forA, netip.AddrPortFrom(muxPeer4.Addr(), 1))
	r.wantDrops(t, map[muxDrop]uint64{dropElsewhere: 1})
	if r.answered("aaaa", muxPeer4) {
		t.Error("answered before an answer from there")
	}
	r.handleSTUN(forB, muxPeer4)
	r.handleSTUN(forA, muxPeer4)
	wantQueued(t, a.queue, forA)
	wantQueued(t, b.queue, forB)
	if !r.answered("aaaa", muxPeer4) || r.answered("aaaa", muxPeer6) || r.answered("cccc", muxPeer4) {
		t.Error("answered is not of the address and ufrag")
	}
	r.handleSTUN(forA, muxPeer4) // once
	r.handleSTUN(answerOf(t, 7, muxAddr4), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropNoCheck: 2})

	// 5 s, and not longer. An error is an answer too.
	refusal := buildSTUN(t, stun.BindingError, stun.NewTransactionIDSetter([12]byte{3}), stun.CodeRoleConflict)
	writeMux(t, a, checkOf(t, "x", "aaaa", 3), muxPeer4)
	writeMux(t, a, checkOf(t, "x", "aaaa", 4), muxPeer4)
	r.pass(checkLife)
	r.handleSTUN(refusal, muxPeer4)
	r.pass(1)
	r.handleSTUN(answerOf(t, 4, muxAddr4), muxPeer4)
	wantQueued(t, a.queue, refusal)
	r.wantDrops(t, map[muxDrop]uint64{dropNoCheck: 1})
	writeMux(t, a, checkOf(t, "x", "aaaa", 5), muxPeer4)
	if got := len(r.checks); got != 1 {
		t.Errorf("%d checks are remembered, want the last one", got)
	}
	for i := range 2 * maxChecks {
		writeMux(t, a, checkOf(t, "x", "aaaa", byte(i)), muxPeer4)
	}
	if got := len(a.sent); got > maxChecks {
		t.Errorf("%d checks are remembered, want at most %d", got, maxChecks)
	}
}

// TestMuxConnsAreFresh holds that agents that share a ufrag have conns of their own, get what may be for either, and do
// not end each other.
func TestMuxConnsAreFresh(t *testing.T) {
	r := newMuxRig()
	first, second := r.conn(t, "aaaa", muxAddr4), r.conn(t, "aaaa", muxAddr4)
	if first == second {
		t.Fatal("GetConn gave the same conn twice")
	}
	check := checkOf(t, "aaaa", "x", 1)
	r.handleSTUN(check, muxPeer4)
	wantQueued(t, first.queue, check)
	wantQueued(t, second.queue, check)
	first.Close()
	first.Close()
	r.RemoveConnByUfrag("aaaa")
	r.handleSTUN(check, muxPeer4)
	wantQueued(t, second.queue, check)
	if _, err := first.WriteTo(check, net.UDPAddrFromAddrPort(muxPeer4)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v, want net.ErrClosed", err)
	}
	writeMux(t, second, checkOf(t, "x", "aaaa", 2), muxPeer4)
	second.Close()
	r.wantEmpty(t)
	r.handleSTUN(check, muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropNoAgent: 1})
}

func TestMuxCloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newMuxRig()
		agent, attempt := r.conn(t, "aaaa", muxAddr4), r.handshakeConn(attemptID{1}, nil)
		read := func(c net.PacketConn) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, _, err := c.ReadFrom(make([]byte, 10))
				done <- err
			}()
			synctest.Wait()
			return done
		}
		reads := []<-chan error{read(r.conn(t, "bbbb", muxAddr6)), read(agent), read(r.handshakeConn(attemptID{2}, nil)), read(attempt)}
		agent.Close()
		attempt.Close()
		for _, i := range []int{1, 3} {
			if err := <-reads[i]; !errors.Is(err, net.ErrClosed) {
				t.Errorf("read %d: %v, want net.ErrClosed", i, err)
			}
		}
		r.Close()
		r.Close()
		for _, i := range []int{0, 2} {
			if err := <-reads[i]; !errors.Is(err, net.ErrClosed) {
				t.Errorf("read %d: %v, want net.ErrClosed", i, err)
			}
		}
		if _, err := r.GetConn("cccc", net.UDPAddrFromAddrPort(muxAddr4)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("GetConn after Close: %v, want net.ErrClosed", err)
		}
		if _, _, err := r.handshakeConn(attemptID{3}, nil).ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("handshakeConn after Close: %v, want net.ErrClosed", err)
		}
		r.wantEmpty(t)
	})
}

// TestMuxExpect holds that checks wait for an agent that is yet to be made.
func TestMuxExpect(t *testing.T) {
	r := newMuxRig()
	forget := r.expect("aaaa")
	var want4 [][]byte
	for i := range muxQueueLen + 2 {
		check := checkOf(t, "aaaa", "x", byte(i))
		if i == muxQueueLen+1 {
			r.handleSTUN(check, muxPeer6)
			continue
		}
		want4 = append(want4, check)
		r.handleSTUN(check, muxPeer4)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropQueueFull: 2})
	v6 := r.conn(t, "aaaa", muxAddr6)
	v4 := r.conn(t, "aaaa", muxAddr4)
	wantQueued(t, v4.queue, want4[2:]...) // the oldest went
	wantQueued(t, v6.queue, checkOf(t, "aaaa", "x", muxQueueLen+1))
	v4.Close()
	v6.Close()
	forget()

	forget = r.expect("bbbb")
	r.handleSTUN(checkOf(t, "bbbb", "x", 1), muxPeer4)
	forget()
	r.handleSTUN(checkOf(t, "bbbb", "x", 1), muxPeer4)
	wantQueued(t, r.conn(t, "bbbb", muxAddr4).queue)
	r.wantDrops(t, map[muxDrop]uint64{dropNoAgent: 1})
	r.Close()
	r.wantEmpty(t)
}

// TestMuxNeverAmplifies holds what an address gets that has not answered: no answer but to a request, once, and none
// larger than it.
func TestMuxNeverAmplifies(t *testing.T) {
	r := newMuxRig()
	c := r.conn(t, "aaaa", muxAddr4)
	r.handleSTUN(checkOf(t, "aaaa", "x", 1), muxPeer4)
	answer := answerOf(t, 1, muxPeer4)
	writeMux(t, c, answer, netip.AddrPortFrom(muxPeer4.Addr(), 9))
	writeMux(t, c, answerOf(t, 2, muxPeer4), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropUnasked: 2})
	writeMux(t, c, answer, muxPeer4)
	r.wantDrops(t, nil)
	writeMux(t, c, answer, muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropUnasked: 1})
	if len(r.sent) != 1 || !bytes.Equal(r.sent[0].b, answer) || r.sent[0].to != muxPeer4 {
		t.Errorf("sent %v, want one answer", r.sent)
	}

	small := buildSTUN(t, stun.BindingRequest, stun.NewTransactionIDSetter([12]byte{1}), stun.NewUsername("aaaa:x"))
	r.handleSTUN(small, muxPeer4)
	writeMux(t, c, answer, muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropLarger: 1})
	writeMux(t, c, checkOf(t, "x", "aaaa", 8), muxPeer4)
	r.handleSTUN(answerOf(t, 8, muxAddr4), muxPeer4) // now it is who it says
	r.handleSTUN(small, muxPeer4)
	writeMux(t, c, answer, muxPeer4)
	r.wantDrops(t, nil)

	writeMux(t, c, []byte("no stun"), muxPeer4)
	writeMux(t, c, buildSTUN(t, stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)), muxPeer4)
	writeMux(t, c, checkOf(t, "x", "aaaa", 1), netip.MustParseAddrPort("255.255.255.255:4000"))
	r.wantDrops(t, map[muxDrop]uint64{dropNotSTUN: 2, dropDestination: 1})
	if len(r.sent) != 3 {
		t.Errorf("%d datagrams left, want 3", len(r.sent))
	}
	if _, err := c.WriteTo(answer, &net.TCPAddr{}); err == nil {
		t.Error("sent to a TCP address")
	}
	r.fail = errors.New("no route")
	if _, err := c.WriteTo(checkOf(t, "x", "aaaa", 1), net.UDPAddrFromAddrPort(muxPeer4)); !errors.Is(err, r.fail) {
		t.Errorf("failed send: %v, want %v", err, r.fail)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropSendFailed: 1})
}

// TestMuxThins holds that a conn thins, counts, and stops thinning where somebody answers.
func TestMuxThins(t *testing.T) {
	r := newMuxRig()
	c := r.conn(t, "aaaa", muxAddr4)
	checks := func(n int, every time.Duration) (sent int) {
		before := len(r.sent)
		for range n {
			writeMux(t, c, checkOf(t, "x", "aaaa", 1), muxPeer4)
			r.pass(every)
		}
		return len(r.sent) - before
	}
	other := r.conn(t, "bbbb", muxAddr4)
	for i := range 2 * thinBurst {
		if i == 3*thinBurst/2 {
			r.handleSTUN(checkOf(t, "bbbb", "x", 1), muxPeer4)
		}
		writeMux(t, other, checkOf(t, "x", "bbbb", 2), muxPeer4)
	}
	if got := len(r.sent); got != thinBurst+thinBurst/2 {
		t.Errorf("%d of 20 checks at once, heard from after 15, want 15", got)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropThinned: thinBurst / 2})

	if got := checks(1700, 50*time.Millisecond); got != thinLimit {
		t.Errorf("%d of 1700 checks in 85 s of silence, want %d", got, thinLimit)
	}
	if got := r.counters()["mux.dropped.send_thinned"] + r.counters()["mux.dropped.send_check_limit"]; got != 1700-thinLimit {
		t.Errorf("%d are counted as dropped, want %d", got, 1700-thinLimit)
	}
	r.handleSTUN(checkOf(t, "aaaa", "x", 1), muxPeer4)
	if got := checks(5, 0); got != 0 {
		t.Errorf("%d checks beyond the limit because of a request, want none", got)
	}
	r.handleSTUN(answerOf(t, 1, muxAddr4), muxPeer4) // to the last check that went, 5 s ago at most
	if got := checks(100, 0); got != 100 {
		t.Errorf("%d of 100 checks to who answered", got)
	}
}

// TestMuxBudget holds that many agents together cannot be aimed at one host, and what they get together is the budget.
func TestMuxBudget(t *testing.T) {
	r := newMuxRig()
	for i := range 100 { // as many attempts, with 8 candidates each at one host
		c := r.conn(t, fmt.Sprint("agent", i), muxAddr4)
		for port := range 8 {
			for range thinBurst {
				writeMux(t, c, checkOf(t, "x", "y", byte(i)), netip.AddrPortFrom(muxPeer4.Addr(), uint16(1+port)))
			}
		}
	}
	if got := len(r.sent); got != destinationBurst {
		t.Errorf("%d checks went to one host, want %d", got, destinationBurst)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropBudget: 8000 - destinationBurst})
	// Answers to who asks under its name are of the same budget.
	c := r.conn(t, "aaaa", muxAddr4)
	r.handleSTUN(checkOf(t, "aaaa", "x", 1), muxPeer4)
	writeMux(t, c, answerOf(t, 1, muxPeer4), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropBudget: 1})
	r.pass(time.Second)
	r.handleSTUN(checkOf(t, "aaaa", "x", 1), muxPeer4)
	writeMux(t, c, answerOf(t, 1, muxPeer4), muxPeer4)
	r.wantDrops(t, nil)
}

// TestMuxFlood holds that memory is bounded whoever sends whatever.
func TestMuxFlood(t *testing.T) {
	r := newMuxRig()
	c := r.conn(t, "aaaa", muxAddr4)
	from := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 4000)
	}
	for i := range 5000 { // authentic ones, as the agent answers them
		r.handleSTUN(checkOf(t, "aaaa", "x", byte(i)), from(i))
		if got := muxQueued(t, c.queue); len(got) == 1 {
			writeMux(t, c, answerOf(t, byte(i), from(i)), from(i))
			writeMux(t, c, checkOf(t, "x", "aaaa", byte(i)), from(i))
		}
	}
	if len(c.remotes) != maxRemotes || len(r.checks) > maxChecks || len(c.asked) > maxAsked {
		t.Errorf("%d remotes, %d checks, %d asked, want %d and no more than %d and %d",
			len(c.remotes), len(r.checks), len(c.asked), maxRemotes, maxChecks, maxAsked)
	}
	if got := len(r.sent); got != 2*maxRemotes {
		t.Errorf("%d datagrams left, want %d", got, 2*maxRemotes)
	}
	r.wantDrops(t, map[muxDrop]uint64{dropRemotes: 5000 - maxRemotes})
	writeMux(t, c, checkOf(t, "x", "aaaa", 1), muxPeer4)
	r.wantDrops(t, map[muxDrop]uint64{dropRemotes: 1})

	fresh := r.conn(t, "bbbb", muxAddr4)
	for i := range 5000 { // unauthentic ones, which the agent does not answer
		r.handleSTUN(checkOf(t, "bbbb", "x", byte(i)), from(i))
		muxQueued(t, fresh.queue)
	}
	if len(fresh.remotes) != 0 || len(fresh.asked) != maxAsked {
		t.Errorf("%d remotes, %d asked, want 0, %d", len(fresh.remotes), len(fresh.asked), maxAsked)
	}
	c.Close()
	fresh.Close()
	r.wantEmpty(t)
}

// TestMuxConnDeadlines holds that reads end at a deadline, and that what pion sets before it closes a conn ends none.
func TestMuxConnDeadlines(t *testing.T) {
	r := newMuxRig()
	past := time.Unix(1, 0)
	c, h := r.conn(t, "aaaa", muxAddr6), r.handshakeConn(attemptID{1}, nil)
	for _, conn := range []net.PacketConn{c, h} {
		if err := errors.Join(conn.SetWriteDeadline(past), conn.SetReadDeadline(past)); err != nil {
			t.Error(err)
		}
		if _, _, err := conn.ReadFrom(nil); !isMuxTimeout(err) {
			t.Errorf("%T: read gave %v, want a timeout", conn, err)
		}
		if err := errors.Join(conn.SetDeadline(past), conn.SetReadDeadline(time.Time{})); err != nil {
			t.Error(err)
		}
	}
	check := checkOf(t, "aaaa", "x", 1)
	if err := c.SetDeadline(past); err != nil {
		t.Error(err)
	}
	r.handleSTUN(check, muxPeer6)
	b := make([]byte, 1500)
	if n, from, err := c.ReadFrom(b); !bytes.Equal(b[:n], check) || err != nil || from.String() != muxPeer6.String() {
		t.Errorf("read %d bytes from %v, %v, want the check", n, from, err)
	}
	if got := c.LocalAddr().String(); got != muxAddr6.String() {
		t.Errorf("local address is %v, want %v", got, muxAddr6)
	}
	if got := h.LocalAddr().String(); got != muxAddr4.String() {
		t.Errorf("local address of a handshake is %v, want the first socket's", got)
	}
	if err := h.SetDeadline(past); err != nil {
		t.Error(err)
	}
	if _, _, err := h.ReadFrom(b); !isMuxTimeout(err) {
		t.Errorf("read gave %v, want a timeout", err)
	}
}

func TestMuxQueueDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMuxQueue()
		start := time.Now()
		q.setDeadline(start.Add(time.Minute))
		if _, err := q.pop(); !isMuxTimeout(err) || time.Since(start) != time.Minute {
			t.Errorf("pop gave %v after %v, want a timeout after a minute", err, time.Since(start))
		}
		q.setDeadline(time.Time{})
		q.push(muxPacket{b: []byte{1}})
		if p, err := q.pop(); err != nil || len(p.b) != 1 {
			t.Errorf("pop = %v, %v: a deadline must not end the queue", p, err)
		}
		q.setDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			q.setDeadline(time.Unix(1, 0)) // as DTLS ends a read
		}()
		start = time.Now()
		if _, err := q.pop(); !isMuxTimeout(err) || time.Since(start) != time.Second {
			t.Errorf("pop gave %v after %v, want a timeout after a second", err, time.Since(start))
		}
		q.setDeadline(time.Now().Add(time.Hour))
		q.push(muxPacket{b: []byte{1}})
		if !q.close() || q.close() || q.push(muxPacket{}) {
			t.Error("a closed queue is closed again, or takes a datagram")
		}
		if q.packets != nil || q.timer.Stop() {
			t.Error("a closed queue holds datagrams, or a timer")
		}
		if err := q.setDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("setDeadline after close: %v, want net.ErrClosed", err)
		}
	})
}

func TestMuxDropNames(t *testing.T) {
	seen := make(map[string]bool)
	for d := dropNone + 1; d < drops; d++ {
		name := d.String()
		if seen[name] || name == "" || bytes.HasPrefix([]byte(name), []byte("drop_")) {
			t.Errorf("drop %d has no name of its own: %q", int(d), name)
		}
		seen[name] = true
	}
}

func isMuxTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
