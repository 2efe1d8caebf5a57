package reliable

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// frames of an attacker, who has the link's keys and no manners.
func dataFrame(lane, at uint64, data []byte, fin bool) []byte {
	return wire.AppendData(nil, wire.Data{Lane: lane, Offset: at, Data: data, Fin: fin})
}

func resetFrame(lane, size uint64) []byte {
	return wire.AppendReset(nil, wire.Reset{Lane: lane, Code: 1, Size: size})
}

func stopFrame(lane uint64) []byte { return wire.AppendStop(nil, wire.Stop{Lane: lane, Code: 1}) }

// TestMisbehaviour: each fault of a peer ends the link with its name, and the peer is told by its code. The victim is the
// odd end; it has lane 1 open, and has sent packets 0 to 2.
func TestMisbehaviour(t *testing.T) {
	abc := []byte("abc")
	for _, c := range []struct {
		name    string
		packets [][]byte
		err     error
		code    uint64
	}{
		{"an empty packet", [][]byte{{}}, ErrFrame, CodeFrame},
		{"an unknown frame", [][]byte{{0x3F}}, ErrFrame, CodeFrame},
		{"a frame of the handshake", [][]byte{wire.AppendAsk(nil, [16]byte{})}, ErrFrame, CodeFrame},
		{"a frame that is cut", [][]byte{dataFrame(2, 0, abc, false)[:5]}, ErrFrame, CodeFrame},
		{"padding that is not zero", [][]byte{{0, 0, 1}}, ErrFrame, CodeFrame},
		{"an ACK that is cut", [][]byte{ackFrame(0, 1)[:3]}, ErrFrame, CodeFrame},
		{"an ACK of what follows the last packet", [][]byte{ackFrame(3, 3)}, ErrOptimisticAck, CodeOptimisticAck},
		{"an ACK of all numbers", [][]byte{ackFrame(0, wire.MaxVarint)}, ErrOptimisticAck, CodeOptimisticAck},
		{"data beyond the lane's window", [][]byte{dataFrame(2, wire.InitialLaneWindow-2, abc, false)}, ErrFlowControl, CodeFlowControl},
		{"data at the end of all offsets", [][]byte{dataFrame(2, wire.MaxVarint-3, abc, false)}, ErrFlowControl, CodeFlowControl},
		{"a reset beyond the lane's window", [][]byte{resetFrame(2, wire.InitialLaneWindow+1)}, ErrFlowControl, CodeFlowControl},
		{"data beyond the link's window", [][]byte{
			dataFrame(2, wire.InitialLaneWindow-3, abc, false), dataFrame(4, wire.InitialLaneWindow-3, abc, false),
			dataFrame(6, 0, abc, false),
		}, ErrFlowControl, CodeFlowControl},
		{"resets beyond the link's window", [][]byte{
			dataFrame(2, wire.InitialLaneWindow-3, abc, false), dataFrame(4, wire.InitialLaneWindow-3, abc, false),
			resetFrame(6, 1),
		}, ErrFlowControl, CodeFlowControl},
		{"data beyond the window of lane 0", [][]byte{dataFrame(0, wire.InitialLaneWindow-2, abc, false)}, ErrFlowControl, CodeFlowControl},
		{"a lane too many", [][]byte{dataFrame(2*1024, 0, abc, false), dataFrame(2*1024+2, 0, abc, false)}, ErrLaneLimit, CodeLaneLimit},
		{"a window of a lane too many", [][]byte{wire.AppendLaneWindow(nil, wire.LaneWindow{Lane: wire.MaxVarint - 1, Max: 1})}, ErrLaneLimit, CodeLaneLimit},
		{"data of a lane that we never opened", [][]byte{dataFrame(3, 0, abc, false)}, ErrLaneState, CodeLaneState},
		{"a stop of a lane that we never opened", [][]byte{stopFrame(wire.MaxVarint)}, ErrLaneState, CodeLaneState},
		{"the end of lane 0", [][]byte{dataFrame(0, 0, nil, true)}, ErrLaneState, CodeLaneState},
		{"a reset of lane 0", [][]byte{resetFrame(0, 0)}, ErrLaneState, CodeLaneState},
		{"a stop of lane 0", [][]byte{stopFrame(0)}, ErrLaneState, CodeLaneState},
		{"data behind the end", [][]byte{dataFrame(2, 0, abc, true), dataFrame(2, 3, abc, false)}, ErrFinalSize, CodeFinalSize},
		{"an end that comes later", [][]byte{dataFrame(1, 0, abc, true), dataFrame(1, 3, abc, true)}, ErrFinalSize, CodeFinalSize},
		{"an end before what came", [][]byte{dataFrame(1, 5, abc, false), dataFrame(1, 0, abc, true)}, ErrFinalSize, CodeFinalSize},
		{"a reset before what came", [][]byte{dataFrame(1, 5, abc, false), resetFrame(1, 7)}, ErrFinalSize, CodeFinalSize},
		{"a reset that moves the end", [][]byte{dataFrame(1, 0, abc, true), resetFrame(1, 4)}, ErrFinalSize, CodeFinalSize},
		{"resets of two sizes", [][]byte{resetFrame(1, 4), resetFrame(1, 5)}, ErrFinalSize, CodeFinalSize},
		{"data behind a reset", [][]byte{resetFrame(1, 4), dataFrame(1, 2, abc, false)}, ErrFinalSize, CodeFinalSize},
		{"other bytes in the same place", [][]byte{dataFrame(1, 0, abc, false), dataFrame(1, 1, []byte("x"), false)}, ErrInconsistent, CodeInconsistent},
		{"other bytes behind a gap", [][]byte{dataFrame(1, 10, abc, false), dataFrame(1, 2, []byte("0123456789"), false)}, ErrInconsistent, CodeInconsistent},
		{"other bytes in one of many gaps", [][]byte{
			dataFrame(1, 10, abc, false), dataFrame(1, 20, abc, false), dataFrame(1, 30, abc, false), dataFrame(1, 19, []byte("?ab?"), false),
		}, ErrInconsistent, CodeInconsistent},
		{"gaps without end", gaps(2, 9000), ErrTooManyRanges, CodeTooManyRanges},
		{"gaps without end in many lanes", slices.Concat(gaps(2, 8000), gaps(4, 8000), gaps(6, 8000), gaps(8, 8000), gaps(10, 8000)), ErrTooManyRanges, CodeTooManyRanges},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := newSender(t, 1<<20)
			e.write(1, 2000)
			e.send(0)
			if e.next != 3 {
				t.Fatalf("the victim has sent %d packets, want 3", e.next)
			}
			var err error
			for i, p := range c.packets {
				if _, err = e.Receive(time.Second, 100+uint64(i), p); err != nil {
					if i < len(c.packets)-1 && !errors.Is(c.err, ErrTooManyRanges) {
						t.Fatalf("packet %d of %d: %v", i, len(c.packets), err)
					}
					break
				}
			}
			var fault *PeerError
			if !errors.Is(err, c.err) || !errors.As(err, &fault) || fault.Code() != c.code || fault.Detail == "" {
				t.Fatalf("error %v, want %v with code %d", err, c.err, c.code)
			}
			n := e.NextPacket(time.Second, e.next, e.buf)
			said, _, err := wire.ParseClose(e.buf[:n])
			if err != nil || said.Code != c.code || said.Reason != c.err.Error() {
				t.Errorf("CLOSE %+v, %v", said, err)
			}
			e.dead(c.err)
		})
	}
}

// gaps makes packets of single bytes, each behind a gap, on one lane: more than full packets of that many bytes would be.
func gaps(lane uint64, n int) (packets [][]byte) {
	for i := 0; i < n; {
		var p []byte
		for ; len(p) < 1100 && i < n; i++ {
			p = append(p, dataFrame(lane, uint64(2*i+1), []byte{7}, false)...)
		}
		packets = append(packets, p)
	}
	return packets
}

// dead checks that every method of a dead machine answers, with the reason.
func (e *end) dead(want error) {
	e.t.Helper()
	l := e.known[1]
	_, errReceive := e.Receive(2*time.Second, 1<<30, []byte{1})
	_, errOpen := e.Open()
	_, errWrite := l.Write([]byte("x"))
	for what, err := range map[string]error{
		"Err": e.Err(), "Receive": errReceive, "Open": errOpen, "Write": errWrite,
		"SendDatagram": e.SendDatagram(0, 0, nil), "CloseWrite": l.CloseWrite(),
	} {
		if !errors.Is(err, want) {
			e.t.Errorf("%s of a dead machine: %v, want %v", what, err, want)
		}
	}
	l.Reset(1)
	l.Stop(1)
	e.Close(1, "again")
	e.PathChanged(0, 0, 0)
	if n := e.Probe(e.next+1, e.buf, Probe{HasChallenge: true}); n != 0 {
		e.t.Error("a dead machine probes")
	}
	for range 100 {
		if _, err := l.Read(e.buf); err != nil {
			var reset *LaneError
			if !errors.Is(err, want) && !errors.Is(err, io.EOF) && !errors.As(err, &reset) { // which came before
				e.t.Errorf("Read of a dead machine: %v, want %v", err, want)
			}
			break
		}
	}
	if e.Stats().Idle {
		e.t.Error("a dead machine is idle")
	}
}

// TestHonestOddities: what an honest peer may do does not end the link.
func TestHonestOddities(t *testing.T) {
	abc := []byte("abc")
	e, _ := newSender(t, 1<<20)
	e.write(1, 2000)
	e.send(0)
	var pn uint64 = 100
	for _, p := range [][]byte{
		dataFrame(2, 0, nil, false), // nothing
		dataFrame(2, 0, abc, true),
		dataFrame(2, 0, abc, true),
		dataFrame(2, 1, []byte("b"), false),
		dataFrame(2, 3, nil, true),
		stopFrame(2), stopFrame(2),
		resetFrame(4, wire.InitialLaneWindow), resetFrame(4, wire.InitialLaneWindow),
		dataFrame(4, 7, abc, false), // what a reset overtook
		dataFrame(6, 10, abc, false),
		dataFrame(6, 4, []byte("0123456789"[:6]), false),
		dataFrame(6, 2, []byte("-"), false),
		dataFrame(6, 0, []byte("ab-d012345abcz"), false), // all of it over again, and more
		ackFrame(0, 0),
		wire.AppendLinkWindow(nil, 0), wire.AppendLanes(nil, 0),
		wire.AppendLaneWindow(nil, wire.LaneWindow{Lane: 2, Max: 1}),
		bytes.Repeat([]byte{byte(wire.FramePing)}, 1200),
		wire.AppendPadding(nil, 1200),
	} {
		pn++
		e.hears(time.Second, pn, p)
	}
	var got []byte
	l, err := e.laneOf(6)
	if err != nil {
		t.Fatal(err)
	}
	for {
		n, err := l.Read(e.buf)
		if n == 0 || err != nil {
			break
		}
		got = append(got, e.buf[:n]...)
	}
	if string(got) != "ab-d012345abcz" {
		t.Errorf("read %q", got)
	}
	if e.gaps != 0 {
		t.Errorf("%d gaps counted where none is left", e.gaps)
	}
	if n := e.received; n != 3+wire.InitialLaneWindow+14 {
		t.Errorf("%d bytes count against the link's window", n)
	}
}

// TestClosedLane: frames that come late for a lane that is over are ignored.
func TestClosedLane(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	l := e.known[1]
	l.Reset(3)
	e.send(time.Second)
	e.hears(time.Second, 100, dataFrame(1, 0, []byte("abc"), true), ackFrame(0, e.next-1))
	if _, err := l.Read(e.buf); err != nil {
		t.Fatal(err)
	}
	if e.lanes[1] != nil {
		t.Fatal("the lane is not over")
	}
	ended := 0
	for v, ok := e.Poll(); ok; v, ok = e.Poll() {
		if v.Ready&Ended != 0 {
			ended++
		}
	}
	e.hears(time.Second, 101, dataFrame(1, 0, []byte("xyz"), true), resetFrame(1, 77), stopFrame(1),
		wire.AppendLaneWindow(nil, wire.LaneWindow{Lane: 1, Max: 1 << 40}))
	for v, ok := e.Poll(); ok; v, ok = e.Poll() {
		t.Errorf("event %s", eventText(v))
	}
	if ended != 1 || e.Stats().Lanes != 1 {
		t.Errorf("ended %d times, %d lanes", ended, e.Stats().Lanes)
	}
}
