package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// connect opens a session with a limit of streams.
func (p *pair) connect(limit int) (a, b *Session) {
	p.t.Helper()
	type result struct {
		s   *Session
		err error
	}
	dialled := make(chan result, 1)
	go func() {
		s, err := p.a.Dial(context.Background(), Request{Service: "test", Streams: limit})
		dialled <- result{s, err}
	}()
	b, err := (<-p.asked).Accept(&AcceptOptions{Streams: limit})
	if err != nil {
		p.t.Fatal(err)
	}
	r := <-dialled
	if r.err != nil {
		p.t.Fatal(r.err)
	}
	return r.s, b
}

// stream opens a stream from a to b.
func stream(t testing.TB, a, b *Session, o *StreamOptions) (x, y *Stream) {
	t.Helper()
	x, err := a.OpenStream(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	y, err = b.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x, y
}

func TestConn(t *testing.T) {
	for name, o := range map[string]*StreamOptions{"reliable": nil, "bulk": {Bulk: true}} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				p := newPair(t, 0)
				a, b := p.connect(1)
				x, y := stream(t, a, b, o)
				return x, y, func() { x.Close(); y.Close(); p.kill(errUnplugged) }, nil
			})
		})
	}
}

// TestOneRoundTrip: a session takes one, and a stream none.
func TestOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 25*time.Millisecond)
		p.serve = func(r *Request) {
			s, err := r.Accept(nil)
			if err != nil {
				t.Error(err)
			}
			go func() {
				st, err := s.AcceptStream(context.Background())
				if err == nil {
					_, err = io.Copy(st, st)
				}
				if err == nil {
					err = st.Close()
				}
				if err != nil {
					t.Error(err)
				}
			}()
		}
		start := time.Now()
		s, err := p.a.Dial(t.Context(), Request{Service: "echo"})
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 50*time.Millisecond {
			t.Errorf("session after %v, want 50ms", got)
		}
		st, err := s.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = st.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := st.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(st)
		if err != nil || string(got) != "hello" {
			t.Errorf("echo %q, %v", got, err)
		}
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("echo after %v, want 100ms", got)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-s.Done()
	})
}

// TestClosedAtOnce: a session that the friend accepts, writes to and closes is
// had by who asked for it, however late that one looks.
func TestClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		p.serve = func(r *Request) {
			s, err := r.Accept(nil)
			if err != nil {
				t.Error(err)
				return
			}
			st, err := s.OpenStream(context.Background(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := st.Write([]byte("hello and goodbye")); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		asked, err := p.a.request(Request{Service: "greeting", Streams: 1})
		if err != nil {
			t.Fatal(err)
		}
		<-asked.Done()
		s, err := p.a.await(t.Context(), asked)
		if err != nil {
			t.Fatalf("the request: %v", err)
		}
		st, err := s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(st); err != nil || string(got) != "hello and goodbye" {
			t.Errorf("read %q, %v", got, err)
		}
		if err := s.Err(); !errors.Is(err, ErrPeerClosed) {
			t.Errorf("the session ended with %v, want %v", err, ErrPeerClosed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRefuse(t *testing.T) {
	for _, n := range []int{0, 20, 255} {
		p := newPair(t, 0)
		reason := strings.Repeat("r", n)
		p.serve = func(r *Request) {
			if r.Service != "test" || string(r.Metadata) != "meta" {
				t.Errorf("asked for %q with %q", r.Service, r.Metadata)
			}
			if err := r.Refuse(reason + strings.Repeat("x", 256-n)); !errors.Is(err, ErrTooLong) {
				t.Errorf("reason of 256 bytes: got %v, want ErrTooLong", err)
			}
			if err := r.Refuse(reason); err != nil {
				t.Error(err)
			}
			if _, err := r.Accept(nil); !errors.Is(err, ErrRefused) {
				t.Errorf("accepted after Refuse: %v", err)
			}
			<-r.Done()
		}
		_, err := p.a.Dial(t.Context(), Request{Service: "test", Metadata: []byte("meta")})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrRefused) || e.Reason != reason || !e.Remote {
			t.Errorf("got %v, want ErrRefused with the reason", err)
		}
	}
}

func TestMetadata(t *testing.T) {
	p := newPair(t, 0)
	got := make(chan []byte, 1)
	p.serve = func(r *Request) {
		s, err := r.Accept(nil)
		if err != nil {
			t.Error(err)
			return
		}
		got <- s.Metadata()
	}
	for _, n := range []int{0, 1, 1200, 1270, 2550, 8192} {
		meta := bytes.Repeat([]byte{'m'}, n)
		s, err := p.a.Dial(t.Context(), Request{Service: "test", Metadata: meta})
		if err != nil {
			t.Fatal(err)
		}
		if b := <-got; !bytes.Equal(b, meta) {
			t.Errorf("%d bytes came, want %d", len(b), n)
		}
		s.Close()
	}
	if _, err := p.a.Dial(t.Context(), Request{Service: "test", Metadata: make([]byte, 8193)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("8193 bytes: got %v, want ErrTooLong", err)
	}
	for _, name := range []string{"", strings.Repeat("s", 256), "new\nline"} {
		if _, err := p.a.Dial(t.Context(), Request{Service: name}); err == nil {
			t.Errorf("service %q was asked for", name)
		}
	}
}
