package session

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// hostile is a peer whose friend is the test: e opens lanes and sends messages
// as it likes.
type hostile struct {
	*fakeLink
	t      testing.TB
	e      *fakeEnd
	peer   *Peer
	budget *Budget
	asked  chan *Request
}

func newHostile(t testing.TB) *hostile {
	h := &hostile{fakeLink: newFakeLink(0), t: t, asked: make(chan *Request, 4096), budget: NewBudget(0)}
	h.e = h.ends[0]
	h.peer = h.ends[1].attach(h.budget, func(r *Request) { h.asked <- r })
	t.Cleanup(func() { h.kill(errUnplugged) })
	return h
}

// send sends a message.
func (h *hostile) send(m wire.SessionMessage) {
	h.t.Helper()
	if err := (fakeSignal{h.e}).Send(wire.AppendSession(nil, m)); err != nil {
		h.t.Fatal(err)
	}
}

// lane opens a lane and writes to it.
func (h *hostile) lane(b []byte) *fakeLane {
	h.t.Helper()
	l, err := h.e.openLane()
	if err == nil && len(b) > 0 {
		_, err = l.Write(b)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// session opens a session and returns the peer's end and the raw lane.
func (h *hostile) session(limit int) (*Session, *fakeLane) {
	h.t.Helper()
	l := h.lane(appendHeader(nil, cmdNOP, 0, 0))
	h.send(wire.SessionRequest{Session: l.id, Lane: l.id, Streams: uint64(limit), Service: "test"})
	s, err := (<-h.asked).Accept(&AcceptOptions{Streams: limit})
	if err != nil {
		h.t.Fatal(err)
	}
	for m := range h.e.control {
		if m, ok := m.(wire.SessionAccept); ok {
			if m.Session != l.id || m.Streams != uint64(limit) {
				h.t.Errorf("got %+v", m)
			}
			break
		}
	}
	return s, l
}

// expect waits for the end of a session, with a cause.
func expect(t testing.TB, s *Session, cause error) {
	t.Helper()
	select {
	case <-s.Done():
		if !errors.Is(s.Err(), cause) {
			t.Errorf("ended with %v, want %v", s.Err(), cause)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the session goes on, want %v", cause)
	}
}

// TestFaults: what breaks the protocol on a session's lane ends the session,
// and tells why.
func TestFaults(t *testing.T) {
	syn := func(id uint32) []byte { return appendHeader(nil, cmdSYN, id, 0) }
	psh := func(id uint32, n int) []byte { return append(appendHeader(nil, cmdPSH, id, n), make([]byte, n)...) }
	join := func(list ...[]byte) (b []byte) {
		for _, f := range list {
			b = append(b, f...)
		}
		return b
	}
	window := make([][]byte, 0, 6)
	window = append(window, syn(3))
	for range 4 {
		window = append(window, psh(3, minWindow/4-1))
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"version", []byte{1, 0, 0, 0, 3, 0, 0, 0}, "version 1"},
		{"command", appendHeader(nil, 5, 3, 0), "command 5"},
		{"SYN with data", join(appendHeader(nil, cmdSYN, 3, 1), []byte{0}), "command 0 with 1 bytes"},
		{"short UPD", join(appendHeader(nil, cmdUPD, 3, 4), make([]byte, 4)), "command 4 with 4 bytes"},
		{"SYN twice", join(syn(3), syn(3)), "SYN of stream 3"},
		{"SYN that falls", join(syn(5), syn(3)), "SYN of stream 3"},
		{"SYN of ours", syn(2), "SYN of stream 2"},
		{"data of no stream", psh(3, 1), "stream 3 was not opened"},
		{"FIN of no stream", appendHeader(nil, cmdFIN, 8, 0), "stream 8 was not opened"},
		{"UPD of no stream", appendUpdate(nil, math.MaxUint32, 0, 1), "was not opened"},
		{"data after FIN", join(syn(3), appendHeader(nil, cmdFIN, 3, 0), psh(3, 1)), "data after FIN"},
		{"consumed too much", join(syn(3), appendUpdate(nil, 3, 1, minWindow)), "more was consumed than sent"},
		{"consumed backwards", join(syn(3), appendUpdate(nil, 3, math.MaxUint32, minWindow)), "more was consumed than sent"},
		{"above the window", join(join(window...), psh(3, 5)), "above its window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHostile(t)
			s, l := h.session(256)
			if _, err := l.Write(c.b); err != nil {
				t.Fatal(err)
			}
			expect(t, s, ErrFault)
			var e *Error
			if !errors.As(s.Err(), &e) || !e.Remote || !strings.Contains(e.Reason, c.want) {
				t.Errorf("got %v, want %q", s.Err(), c.want)
			}
			if m, ok := (<-h.e.control).(wire.SessionEnd); !ok || m.Cause != wire.SessionFault || m.Reason != e.Reason {
				t.Errorf("told %+v", m)
			}
			if _, err := l.Read(make([]byte, 100)); err == nil {
				t.Error("the lane goes on")
			}
			if n := h.peer.Stats()[countFaults]; n != 1 {
				t.Errorf("%d faults are counted, want 1", n)
			}
		})
	}
}

// TestCutFrame: a lane that ends, or is reset, inside of a frame.
func TestCutFrame(t *testing.T) {
	h := newHostile(t)
	s, l := h.session(256)
	if _, err := l.Write(appendHeader(nil, cmdSYN, 3, 0)[:5]); err != nil {
		t.Fatal(err)
	}
	if err := l.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, s, ErrFault)
	s, l = h.session(256)
	if _, err := l.Write(append(appendHeader(nil, cmdSYN, 3, 0), appendHeader(nil, cmdPSH, 3, 100)...)); err != nil {
		t.Fatal(err)
	}
	st, err := s.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Reset(9)
	expect(t, s, ErrAborted)
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, ErrAborted) {
		t.Errorf("read: got %v, want ErrAborted", err)
	}
}

// TestExactWindow: a stream may be filled to its window, and no further, in
// frames as small as may be.
func TestExactWindow(t *testing.T) {
	h := newHostile(t)
	s, l := h.session(1024)
	b := appendHeader(nil, cmdSYN, 3, 0)
	for range minWindow {
		b = append(appendHeader(b, cmdPSH, 3, 1), 7)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := l.Write(b); err != nil {
		t.Fatal(err)
	}
	st, err := s.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for h.budget.Used() < minWindow {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4*minWindow {
		t.Errorf("%d frames of one byte take %d bytes", minWindow, grown)
	}
	if _, err := io.ReadFull(st, make([]byte, minWindow)); err != nil {
		t.Error(err)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

// TestSynFlood: streams beyond the limit are refused and hold nothing; a peer
// that does not take the refusals either loses the session.
func TestSynFlood(t *testing.T) {
	h := newHostile(t)
	s, l := h.session(16)
	var b []byte
	const flood = 20_000
	for i := range flood {
		b = appendHeader(b, cmdSYN, uint32(3+2*i), 0)
	}
	go func() { _, _ = l.Write(b) }()
	refused := 0
	frame := make([]byte, frameHeader+updLength)
	for range 2 * (flood - 16) {
		if _, err := io.ReadFull(l, frame[:frameHeader]); err != nil {
			t.Fatal(err)
		}
		switch x := parseHeader(frame); x.command {
		case cmdUPD:
			if _, err := io.ReadFull(l, frame[frameHeader:]); err != nil {
				t.Fatal(err)
			}
			refused++
		case cmdFIN:
		default:
			t.Fatalf("command %d", x.command)
		}
	}
	if n := h.peer.Stats()[countStreams]; refused != flood-16 || n != flood-16 {
		t.Errorf("%d refused, %d counted, want %d", refused, n, flood-16)
	}
	s.mu.Lock()
	if len(s.reliables) != 16 || len(s.accepts) != 16 {
		t.Errorf("%d streams are held", len(s.reliables))
	}
	s.mu.Unlock()

	// And now without reading.
	s, l = h.session(1)
	l.in.mu.Lock()
	l.in.window = 0 // its other direction takes nothing
	l.in.mu.Unlock()
	b = b[:0]
	for i := range 200_000 {
		b = appendHeader(b, cmdSYN, uint32(3+2*i), 0)
	}
	go func() { _, _ = l.Write(b) }()
	expect(t, s, ErrFault)
}

// TestRequestFlood: 256 requests may wait; others are refused at once.
func TestRequestFlood(t *testing.T) {
	h := newHostile(t)
	const flood = maxRequests + 100
	for i := range uint64(flood) {
		h.send(wire.SessionRequest{
			Session: 2*i + 1, Lane: 2*i + 1, Streams: 1, Service: "test", Metadata: make([]byte, wire.MaxMetadata),
		})
	}
	for range flood - maxRequests {
		if m, ok := (<-h.e.control).(wire.SessionRefuse); !ok || m.Reason == "" {
			t.Fatalf("got %+v, want REFUSE", m)
		}
	}
	if n := len(h.asked); n != maxRequests {
		t.Errorf("%d requests were handed on, want %d", n, maxRequests)
	}
	if n := h.peer.Stats()[countRequests]; n != flood-maxRequests {
		t.Errorf("%d are counted, want %d", n, flood-maxRequests)
	}
	for range maxRequests {
		if err := (<-h.asked).Refuse("no"); err != nil {
			t.Error(err)
		}
	}
	if n := len(h.peer.sessions) + h.peer.requests + len(h.peer.claims); n != 0 {
		t.Errorf("%d are still held", n)
	}
	// A place is free again, and the lane of what was refused is not kept.
	l := h.lane([]byte{0})
	for strays := 0; strays == 0; {
		h.peer.mu.Lock()
		strays = len(h.peer.strays.list)
		h.peer.mu.Unlock()
	}
	h.send(wire.SessionRequest{Session: 2*flood + 1, Lane: 2*flood + 1, Streams: 1, Service: "test"})
	<-h.asked
	h.send(wire.SessionRequest{Session: 2*flood + 3, Lane: l.id, Streams: 1, Service: "test"})
	if err := (<-h.asked).Refuse("no"); err != nil {
		t.Error(err)
	}
	if _, err := l.Write([]byte{0}); err == nil {
		t.Error("the lane of a refused request is open")
	}
}

// TestStrayLanes: lanes that nothing names are held for 5 s, 64 of them.
func TestStrayLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t)
		var lanes []*fakeLane
		for range maxStrays + 10 {
			lanes = append(lanes, h.lane([]byte{0}))
			synctest.Wait()
		}
		stopped := func() (n int) {
			for _, l := range lanes {
				if out, in := l.state(); out != nil && in != nil {
					n++
				}
			}
			return n
		}
		if n := stopped(); n != 10 {
			t.Errorf("%d lanes are stopped at once, want 10", n)
		}
		time.Sleep(strayTime - time.Millisecond)
		late := h.lane(appendHeader(nil, cmdNOP, 0, 0))
		synctest.Wait()
		if out, _ := late.state(); out == nil {
			t.Error("a lane is kept beyond the bound")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := stopped(); n != len(lanes) {
			t.Errorf("%d lanes are stopped after %v, want %d", n, strayTime, len(lanes))
		}
		if n := h.peer.Stats()[countStrays]; n != uint64(len(lanes)+1) {
			t.Errorf("%d are counted, want %d", n, len(lanes)+1)
		}
		s, l := h.session(1) // and a session is still possible
		if err := s.Err(); err != nil {
			t.Error(err)
		}
		l.Reset(1)
		<-s.Done()
	})
}

// TestRequestWithoutLane: the lane that a request names must come.
func TestRequestWithoutLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t)
		h.send(wire.SessionRequest{Session: 1, Lane: 1, Streams: 1, Service: "test"})
		s, err := (<-h.asked).Accept(nil)
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() { _, _ = st.Write(make([]byte, 1<<20)) }()
		<-s.Done()
		if !errors.Is(s.Err(), ErrFault) || time.Since(start) != laneTime {
			t.Errorf("got %v after %v, want ErrFault after %v", s.Err(), time.Since(start), laneTime)
		}
	})
}

// TestLateLane: a lane that comes after the request was accepted is the
// session's, with all that was written meanwhile.
func TestLateLane(t *testing.T) {
	h := newHostile(t)
	h.send(wire.SessionRequest{Session: 1, Lane: 1, Streams: 2, Service: "test"})
	s, err := (<-h.asked).Accept(nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.OpenStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	l := h.lane(appendHeader(nil, cmdNOP, 0, 0))
	b := make([]byte, 2*frameHeader+5)
	if _, err := io.ReadFull(l, b); err != nil || string(b[2*frameHeader:]) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestJunk: messages that no honest node sends are dropped and counted.
func TestJunk(t *testing.T) {
	h := newHostile(t)
	s, l := h.session(16)
	request := wire.SessionRequest{Session: 101, Lane: 101, Streams: 1, Service: "test"}
	change := func(f func(*wire.SessionRequest)) wire.SessionMessage {
		r := request
		f(&r)
		return r
	}
	junk := []wire.SessionMessage{
		change(func(r *wire.SessionRequest) { r.Session = 102 }),
		change(func(r *wire.SessionRequest) { r.Session = s.id }),
		change(func(r *wire.SessionRequest) { r.Lane = 102 }),
		wire.SessionAccept{Session: s.id, Streams: 1},
		wire.SessionAccept{Session: 2, Streams: 1},
		wire.SessionRefuse{Session: s.id},
		wire.SessionEnd{Session: 1001},
		wire.SessionFlowOpen{Session: 1001, Flow: 1},
		wire.SessionFlowOpen{Session: s.id, Flow: 2},
		wire.SessionBulk{Session: s.id, Lane: 2},
	}
	for _, m := range junk {
		h.send(m)
	}
	for _, b := range [][]byte{nil, {0}, {99}, {byte(wire.SessionEndKind)}} {
		if err := (fakeSignal{h.e}).Send(b); err != nil {
			t.Fatal(err)
		}
	}
	// These do nothing either, and may be late ones of an honest node.
	for _, m := range []wire.SessionMessage{
		wire.SessionFlowClose{Session: s.id, Flow: 1},
		wire.SessionFlowClose{Session: s.id, Flow: 2},
		wire.SessionBulkRefuse{Session: s.id, Lane: l.id},
		wire.SessionBulkRefuse{Session: s.id, Lane: 2},
		wire.SessionEnd{Session: s.id}, // closed in order: the lane goes on
	} {
		h.send(m)
	}
	h.send(wire.SessionFlowOpen{Session: s.id, Flow: 1})
	st, err := s.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.send(wire.SessionFlowOpen{Session: s.id, Flow: 1}) // again
	h.send(wire.SessionFlowClose{Session: s.id, Flow: 1})
	if _, err := st.Read(nil); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
	if n, want := h.peer.Stats()[countJunk], uint64(len(junk)+4+1); n != want {
		t.Errorf("%d are counted, want %d", n, want)
	}
	if len(h.asked) != 0 || len(h.peer.Sessions()) != 1 {
		t.Errorf("%d requests, %d sessions", len(h.asked), len(h.peer.Sessions()))
	}
}

// TestFlowFlood: flows and lanes beyond the limit are refused, whatever is
// claimed of them.
func TestFlowFlood(t *testing.T) {
	h := newHostile(t)
	s, _ := h.session(8)
	for i := range uint64(100) {
		h.send(wire.SessionFlowOpen{Session: s.id, Flow: 2*i + 1})
		h.send(wire.SessionBulk{Session: s.id, Lane: 2*i + 1001})
	}
	for range 2*100 - 8 {
		switch m := (<-h.e.control).(type) {
		case wire.SessionFlowClose:
			if m.Cause != wire.FlowRefused {
				t.Errorf("got %+v", m)
			}
		case wire.SessionBulkRefuse:
		default:
			t.Errorf("got %+v", m)
		}
	}
	type held struct{ flows, bulks, claims int }
	holds := func(want held) { // what the last message did may still be under way
		t.Helper()
		var got held
		for range 200 {
			h.peer.mu.Lock()
			s.mu.Lock()
			got = held{len(s.flows), len(s.bulks), len(h.peer.claims)}
			s.mu.Unlock()
			h.peer.mu.Unlock()
			if got == want {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("it holds %+v, want %+v", got, want)
	}
	holds(held{4, 4, 4})
	s.Abort(1, "enough")
	holds(held{4, 4, 0}) // the streams are the program's, to be closed by it
}

// TestDatagramFlood: datagrams of flows that never open hold no memory.
func TestDatagramFlood(t *testing.T) {
	h := newHostile(t)
	s, _ := h.session(8)
	d := make([]byte, fakeMax)
	for i := range uint64(10_000) {
		h.peer.Datagram(s.id, 2*(i%1000)+1, d)
	}
	if n := len(s.early.list); n != maxEarly {
		t.Errorf("%d are held, want %d", n, maxEarly)
	}
	if n := h.peer.Stats()[countDatagrams]; n != 10_000-maxEarly {
		t.Errorf("%d are counted, want %d", n, 10_000-maxEarly)
	}
}

// TestBadBulk: a lane of a stream begins with 0.
func TestBadBulk(t *testing.T) {
	for name, first := range map[string][]byte{"another first byte": {1, 'x'}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			s, _ := h.session(8)
			l := h.lane(first)
			if first == nil {
				if err := l.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			h.send(wire.SessionBulk{Session: s.id, Lane: l.id})
			st, err := s.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := st.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := st.Read(make([]byte, 10)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
				t.Errorf("read %d, %v", n, err)
			}
			expect(t, s, ErrFault)
		})
	}
}

// TestManyHostileSessions: what a friend can make a node hold stays within the
// budget, whatever it sends.
func TestManyHostileSessions(t *testing.T) {
	h := newHostile(t)
	h.budget.limit = 16 << 20
	var sessions []*Session
	for range 20 {
		s, l := h.session(1024)
		sessions = append(sessions, s)
		go func() {
			for id := uint32(3); ; id += 2 {
				b := appendHeader(nil, cmdSYN, id, 0)
				for range minWindow >> 15 {
					b = append(appendHeader(b, cmdPSH, id, 1<<15), make([]byte, 1<<15)...)
				}
				if _, err := l.Write(b); err != nil {
					return
				}
			}
		}()
	}
	var e *Error
	for h.peer.Stats()[countOverBudget] < 10 {
		if used := h.budget.Used(); used > h.budget.limit+1<<20 {
			t.Fatalf("%d bytes are held of %d", used, h.budget.limit)
		}
		time.Sleep(time.Millisecond)
	}
	closed := 0
	for _, s := range sessions {
		if errors.As(s.Err(), &e) && errors.Is(e.Cause, ErrOverBudget) {
			closed++
		}
	}
	if closed < 10 {
		t.Errorf("%d sessions were closed", closed)
	}
}

// FuzzLane gives any bytes to the lane of a session: it ends, or goes on, and
// nothing is left of it.
func FuzzLane(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendHeader(nil, cmdNOP, 0, 0))
	b := appendHeader(nil, cmdSYN, 3, 0)
	b = append(appendHeader(b, cmdPSH, 3, 5), "hello"...)
	b = appendUpdate(b, 3, 0, minWindow)
	b = appendHeader(b, cmdFIN, 3, 0)
	f.Add(b)
	f.Add(appendUpdate(appendHeader(nil, cmdSYN, 5, 0), 5, goneRefused, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newHostile(t)
		s, l := h.session(4)
		st, err := s.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		h.send(wire.SessionEnd{Session: s.id})
		if _, err := l.Write(b); err == nil {
			_ = l.CloseWrite()
		}
		<-s.Done()
		if !errors.Is(s.Err(), ErrFault) && !errors.Is(s.Err(), ErrPeerClosed) {
			t.Errorf("ended with %v", s.Err())
		}
		_ = st.Close()
		for {
			st, err := s.AcceptStream(t.Context())
			if err != nil {
				break
			}
			if n, err := io.Copy(io.Discard, st); n > int64(len(b)) {
				t.Errorf("read %d of %d bytes, %v", n, len(b), err)
			}
			_ = st.Close()
		}
		s.work.Wait()
		if used := h.budget.Used(); used != 0 {
			t.Errorf("%d bytes are still charged", used)
		}
	})
}

// FuzzControl gives any messages to a peer that has a session.
func FuzzControl(f *testing.F) {
	for _, m := range []wire.SessionMessage{
		wire.SessionRequest{Session: 3, Lane: 3, Streams: 1, Service: "x"},
		wire.SessionEnd{Session: 1, Cause: wire.SessionAborted, Code: 1},
		wire.SessionFlowOpen{Session: 1, Flow: 1},
		wire.SessionFlowClose{Session: 1, Flow: 1, Sent: 5},
		wire.SessionBulk{Session: 1, Lane: 3},
		wire.SessionBulkRefuse{Session: 1, Lane: 2},
		wire.SessionAccept{Session: 1, Streams: 1},
		wire.SessionRefuse{Session: 1},
	} {
		b := wire.AppendSession(nil, m)
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		h := newHostile(t)
		s, _ := h.session(4)
		for _, b := range [][]byte{x, y, x} {
			h.peer.Control(b)
			h.peer.Datagram(s.id, 1, b)
		}
		h.kill(errUnplugged)
		if used := h.budget.Used(); used != 0 {
			t.Errorf("%d bytes are still charged", used)
		}
		if n := len(h.peer.sessions) + len(h.peer.claims) + h.peer.requests; n != 0 {
			t.Errorf("%d are held after the end", n)
		}
	})
}

// TestErrorText: an end says what happened, by whom, and why.
func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		e    *Error
		want string
	}{
		{&Error{Cause: ErrClosed}, "closed at this end: use of closed network connection"},
		{&Error{Cause: ErrPeerClosed, Remote: true}, "the friend closed the session"},
		{&Error{Cause: ErrAborted, Remote: true, Code: 7, Reason: "why"}, `session aborted by the friend (code 7): "why"`},
		{&Error{Cause: ErrLinkLost, Err: errUnplugged}, "link lost: unplugged"},
	} {
		if got := fmt.Sprint(c.e); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
