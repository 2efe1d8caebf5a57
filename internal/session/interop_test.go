package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"github.com/gocarrier/carrier/internal/wire"
)

// smuxLimit is the limit of streams in the tests with xtaci/smux.
const smuxLimit = 64

// smuxConfig is what such a session agrees with.
func smuxConfig() *smux.Config {
	return &smux.Config{
		Version: 2, KeepAliveDisabled: true, MaxFrameSize: 32 << 10,
		MaxStreamBuffer: streamWindow(smuxLimit), MaxReceiveBuffer: smuxLimit * streamWindow(smuxLimit),
	}
}

// withSMUX opens a session whose other end is xtaci/smux on the same lane.
func withSMUX(t *testing.T, dialled bool) (*Session, *smux.Session) {
	h := newHostile(t)
	if !dialled {
		s, l := h.session(smuxLimit)
		other, err := smux.Client(l, smuxConfig())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		return s, other
	}
	got := make(chan *Session, 1)
	go func() {
		s, err := h.peer.Dial(context.Background(), Request{Service: "test", Streams: smuxLimit})
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	m, ok := (<-h.e.control).(wire.SessionRequest)
	if !ok {
		t.Fatalf("got %+v, want REQUEST", m)
	}
	other, err := smux.Server(<-h.e.lanes, smuxConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	h.send(wire.SessionAccept{Session: m.Session, Streams: smuxLimit})
	return <-got, other
}

// TestSMUX: what is said on a lane is what xtaci/smux, version 2, says: streams
// of both ends, several windows each way, the end.
func TestSMUX(t *testing.T) {
	for name, dialled := range map[string]bool{"dialled": true, "accepted": false} {
		t.Run(name, func(t *testing.T) {
			s, other := withSMUX(t, dialled)
			for i := range 10 {
				var x, y io.ReadWriteCloser
				var err error
				if i%2 == 0 {
					x, err = s.OpenStream(t.Context(), nil)
				} else {
					x, err = other.OpenStream()
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Write([]byte("!")); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					y, err = other.AcceptStream()
				} else {
					y, err = s.AcceptStream(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(y, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				for _, c := range [][2]io.ReadWriteCloser{{x, y}, {y, x}} {
					sent := random(3<<20, uint64(i))
					go func() {
						if n, err := c[0].Write(sent); err != nil {
							t.Errorf("stream %d: %d bytes written, %v", i, n, err)
						}
					}()
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(c[1], got); err != nil || !bytes.Equal(got, sent) {
						t.Fatalf("stream %d: %v", i, err)
					}
				}
				_ = x.Close()
				if _, err := y.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("stream %d: got %v, want io.EOF", i, err)
				}
				_ = y.Close()
			}
			for other.NumStreams() > 0 {
				time.Sleep(time.Millisecond)
			}
			for s.locked(s.openError) != nil {
				t.Fatal(s.Err())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := other.AcceptStream(); err == nil {
				t.Error("a stream after the end")
			}
		})
	}
}

// TestDefectCloseWrite holds the reason against xtaci/smux that a test can show
// without ending the process: what has come and was not read is gone when both
// ends have finished. When this fails, read the package comment again.
func TestDefectCloseWrite(t *testing.T) {
	link := newFakeLink(0)
	defer link.kill(errUnplugged)
	l, err := link.ends[0].openLane()
	if err != nil {
		t.Fatal(err)
	}
	client, err := smux.Client(l, smuxConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	x, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	server, err := smux.Server(<-link.ends[1].lanes, smuxConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	y, err := server.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Write([]byte("the answer")); err != nil {
		t.Fatal(err)
	}
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
	for client.NumStreams() > 0 { // until the end has come
		time.Sleep(time.Millisecond)
	}
	if got, err := io.ReadAll(x); err != nil || len(got) != 0 {
		t.Errorf("read %q, %v: xtaci/smux keeps what has come before the end by now", got, err)
	}
}
