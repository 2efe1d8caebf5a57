package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestConn has golang.org/x/net/nettest judge reliable streams, as a net.Conn
// from Dial and Listen, and as a bulk stream of a session. It runs in real time:
// nettest has subtests, which no bubble may.
func TestConn(t *testing.T) {
	t.Parallel()
	n := carriertest.NewNetwork(t, nil)
	alice, bob := n.Node("Alice"), n.Node("Bob")
	ab, _ := n.Befriend(alice, bob)
	ln, err := bob.Listen("conn", nil)
	if err != nil {
		t.Fatal(err)
	}
	bulks, err := bob.ListenSessions("bulk", nil)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) (c1, c2 net.Conn, err error) {
		if c1, err = ab.Dial(ctx, "conn"); err != nil {
			return nil, nil, err
		}
		c2, err = ln.Accept()
		return c1, c2, err
	}
	bulk := func(ctx context.Context) (c1, c2 net.Conn, err error) {
		accepted := make(chan *carrier.Session, 1)
		go func() {
			defer close(accepted)
			if r, err := bulks.Accept(ctx); err == nil {
				if s, err := r.Accept(); err == nil {
					accepted <- s
				}
			}
		}()
		a, err := ab.NewSession(ctx, "bulk", nil)
		if err != nil {
			return nil, nil, err
		}
		b := <-accepted
		if b == nil {
			return nil, nil, errors.New("the session was not accepted")
		}
		if c1, err = a.OpenStream(ctx, &carrier.StreamOptions{Bulk: true}); err != nil {
			return nil, nil, err
		}
		c2, err = b.AcceptStream(ctx)
		return c1, c2, err
	}
	for name, pipe := range map[string]func(context.Context) (c1, c2 net.Conn, err error){"dial": dial, "bulk": bulk} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if c1, c2, err = pipe(ctx); err != nil {
					return nil, nil, nil, err
				}
				return c1, c2, func() {
					_ = c1.Close() // the test may have closed it
					_ = c2.Close()
					_ = c1.(*carrier.Stream).Session().Close()
				}, nil
			})
		})
	}
}

// TestStreamsBothWaysAtOnce: much each way at the same time, byte for byte, on
// an ordinary stream and on a bulk stream.
func TestStreamsBothWaysAtOnce(t *testing.T) {
	size := 10 << 20
	if testing.Short() {
		size = 1 << 20
	}
	bubbleWithDelay(t, 5*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		for _, opts := range []*carrier.StreamOptions{nil, {Bulk: true}} {
			a, b := p.session(t, "both ways", nil)
			x, y := streamBetween(t, a, b, opts)
			begun := time.Now()
			var work sync.WaitGroup
			sent := [2][]byte{randomBytes(size, 1), randomBytes(size, 2)}
			for i, c := range []*carrier.Stream{x, y} {
				work.Go(func() {
					if _, err := c.Write(sent[i]); err != nil {
						t.Error(err)
					}
					if err := c.CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				work.Go(func() {
					if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent[1-i]) {
						t.Errorf("read %d bytes, %v; want the %d that were sent", len(got), err, size)
					}
				})
			}
			work.Wait()
			t.Logf("%+v: %d MiB each way in %v (virtual)", opts, size>>20, time.Since(begun))
			a.Close()
			<-a.Done()
			<-b.Done()
		}
	})
}

func bubbleWithDelay(t *testing.T, oneWay time.Duration, test func(t *testing.T, n *carriertest.Network)) {
	t.Helper()
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Delay: oneWay}, test)
}

// TestHalfClose: after CloseWrite the other half goes on.
func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "half", nil)
		for _, opts := range []*carrier.StreamOptions{nil, {Bulk: true}} {
			x, y := streamBetween(t, a, b, opts)
			write(t, x, "question")
			if err := x.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := x.CloseWrite(); err != nil {
				t.Errorf("CloseWrite again: %v, want nil", err)
			}
			if _, err := x.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write after CloseWrite: %v, want net.ErrClosed", err)
			}
			if got, err := io.ReadAll(y); err != nil || string(got) != "question" {
				t.Fatalf("read %q, %v", got, err)
			}
			time.Sleep(time.Minute)
			write(t, y, "answer")
			if err := y.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(x); err != nil || string(got) != "answer" {
				t.Errorf("read %q, %v; want the answer", got, err)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			for name, err := range map[string]error{
				"Read":        second(x.Read(make([]byte, 1))),
				"Write":       second(x.Write([]byte("x"))),
				"CloseWrite":  x.CloseWrite(),
				"SetDeadline": x.SetDeadline(time.Now()),
			} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
				}
			}
			if err := x.Close(); err != nil {
				t.Errorf("Close again: %v, want nil", err)
			}
		}
	})
}

func second(_ int, err error) error { return err }

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("wrote %d bytes of %d: %v", n, len(text), err)
	}
}

// TestCloseFlushesBehind: Close returns at once, and what was written arrives.
func TestCloseFlushesBehind(t *testing.T) {
	bubbleWithDelay(t, 100*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		ln, err := p.bob.Listen("files", nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := randomBytes(200_000, 1)
		c, err := p.ab.Dial(within(t, patience), "files")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("Write and Close took %v, want no time", took)
		}
		got, err := accepted(t, ln)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, sent) {
			t.Errorf("read %d bytes, %v; want all %d", len(b), err, len(sent))
		}
		<-c.Session().Done()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the session was over after %v", took)
		}
	})
}

// accepted takes one stream of a listener.
func accepted(t *testing.T, ln net.Listener) (*carrier.Stream, error) {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	return c.(*carrier.Stream), nil
}

// TestDeadlines: they end calls, those that wait included, and leave the stream
// as it is.
func TestDeadlines(t *testing.T) {
	bubbleWithDelay(t, time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "deadlines", nil)
		for _, opts := range []*carrier.StreamOptions{nil, {Bulk: true}, {Mode: carrier.Datagram}} {
			x, y := streamBetween(t, a, b, opts)
			begun := time.Now()
			if err := x.SetReadDeadline(begun.Add(3 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err := x.Read(make([]byte, 1))
			var timeout net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%+v: Read past its deadline: %v, want os.ErrDeadlineExceeded, a timeout", opts, err)
			}
			if took := time.Since(begun); took != 3*time.Second {
				t.Errorf("%+v: it took %v, want 3 s", opts, took)
			}
			if opts == nil || opts.Mode == carrier.Reliable {
				if err := x.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
				k, err := x.Write(make([]byte, 64<<20)) // nobody reads
				if !errors.Is(err, os.ErrDeadlineExceeded) || k == 0 {
					t.Errorf("%+v: Write past its deadline: %d bytes, %v; want some and os.ErrDeadlineExceeded", opts, k, err)
				}
				if _, err := io.CopyN(io.Discard, y, int64(k)); err != nil {
					t.Errorf("%+v: what the cut Write says was written: %v", opts, err)
				}
			}
			if err := x.SetDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			for _, way := range [][2]*carrier.Stream{{x, y}, {y, x}} { // it lives
				write(t, way[0], "still here")
				got := make([]byte, 10)
				if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "still here" {
					t.Errorf("%+v: after the deadlines: %q, %v", opts, got, err)
				}
			}
			x.Close()
			y.Close()
		}
	})
}
