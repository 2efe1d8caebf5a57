package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestSessionMetadata: the request carries service and metadata of every length
// up to the limit.
func TestSessionMetadata(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		for i, size := range []int{0, 1, 1200, 1270, 2550, 8192} {
			metadata := randomBytes(size, uint64(i))
			a, b := p.session(t, "metadata", &carrier.SessionOptions{Metadata: metadata})
			if !bytes.Equal(b.Metadata(), metadata) || !bytes.Equal(a.Metadata(), metadata) {
				t.Errorf("metadata of %d bytes: Alice has %d, Bob %d", size, len(a.Metadata()), len(b.Metadata()))
			}
			if a.Service() != "metadata" || b.Service() != "metadata" || a.Friend() != p.ab || b.Friend() != p.ba {
				t.Errorf("services %q, %q, friends %s, %s", a.Service(), b.Service(), a.Friend(), b.Friend())
			}
			a.Close()
		}
		l := p.listen(t, "metadata", nil)
		defer l.Close()
		_, err := p.ab.NewSession(within(t, patience), "metadata", &carrier.SessionOptions{Metadata: make([]byte, 8193)})
		if !errors.Is(err, carrier.ErrTooLong) {
			t.Errorf("metadata of 8193 bytes: %v, want ErrTooLong", err)
		}
	})
}

// TestSessionRefusal: the reason arrives as it was given.
func TestSessionRefusal(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		l := p.listen(t, "club", nil)
		for _, size := range []int{0, 20, 255} {
			reason := strings.Repeat("n", size)
			go func() {
				r, err := l.Accept(within(t, patience))
				if err != nil {
					t.Error(err)
					return
				}
				if err := r.Refuse(strings.Repeat("n", 256)); !errors.Is(err, carrier.ErrTooLong) {
					t.Errorf("a reason of 256 bytes: %v, want ErrTooLong", err)
				}
				if err := r.Refuse(reason); err != nil {
					t.Errorf("a reason of %d bytes: %v", size, err)
				}
				if _, err := r.Accept(); err == nil {
					t.Error("Accept after Refuse: nil, want an error")
				}
			}()
			_, err := p.ab.NewSession(within(t, patience), "club", nil)
			if !errors.Is(err, carrier.ErrSessionRefused) || size > 0 && !strings.Contains(err.Error(), `"`+reason+`"`) {
				t.Errorf("refused with %d bytes: %v, want ErrSessionRefused and the reason", size, err)
			}
		}
	})
}

// TestServices: they are told apart by name, one listener each.
func TestServices(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		for _, name := range []string{"", strings.Repeat("n", 256), "bad \xff", "bad \x00"} {
			if _, err := p.bob.Listen(name, nil); !errors.Is(err, carrier.ErrBadService) {
				t.Errorf("Listen(%.10q): %v, want ErrBadService", name, err)
			}
			if _, err := p.ab.Dial(within(t, patience), name); !errors.Is(err, carrier.ErrBadService) {
				t.Errorf("Dial(%.10q): %v, want ErrBadService", name, err)
			}
		}
		long := strings.Repeat("n", 255)
		for _, name := range []string{"one", "two", long} {
			ln, err := p.bob.Listen(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := (carrier.Addr{ID: p.bob.ID(), Service: name}); ln.Addr() != want || ln.Addr().Network() != "carrier" {
				t.Errorf("Addr = %v, want %v", ln.Addr(), want)
			}
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					write(t, c, name)
					c.Close()
				}
			}()
		}
		if _, err := p.bob.Listen("one", nil); !errors.Is(err, carrier.ErrServiceInUse) {
			t.Errorf("a second listener: %v, want ErrServiceInUse", err)
		}
		if _, err := p.bob.ListenSessions("one", nil); !errors.Is(err, carrier.ErrServiceInUse) {
			t.Errorf("a second listener, for sessions: %v, want ErrServiceInUse", err)
		}
		for _, name := range []string{"two", "one", long} {
			c, err := p.ab.Dial(within(t, patience), name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); err != nil || string(got) != name {
				t.Errorf("service %.10q answered %.10q, %v", name, got, err)
			}
			if want := (carrier.Addr{ID: p.bob.ID(), Service: name}); c.RemoteAddr() != want {
				t.Errorf("RemoteAddr = %v, want %v", c.RemoteAddr(), want)
			}
			if want := (carrier.Addr{ID: p.alice.ID(), Service: name}); c.LocalAddr() != want {
				t.Errorf("LocalAddr = %v, want %v", c.LocalAddr(), want)
			}
			c.Close()
		}
		_, err := p.ab.Dial(within(t, patience), "three")
		if !errors.Is(err, carrier.ErrSessionRefused) || !strings.Contains(err.Error(), "no such service") {
			t.Errorf("no listener: %v, want ErrSessionRefused that says so", err)
		}
	})
}

// TestListenerClose: it refuses what waits and what comes, ends Accept, frees
// the name, and leaves what was accepted alone.
func TestListenerClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "inn", nil)
		l := p.listen(t, "inn", nil)
		waiting := make(chan error, 1)
		go func() {
			_, err := p.ab.NewSession(within(t, patience), "inn", nil)
			waiting <- err
		}()
		synctest.Wait()
		ended := make(chan error, 1)
		ln, err := p.bob.Listen("streams", nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, err := ln.Accept(); ended <- err }()
		for _, close := range []func() error{l.Close, l.Close, ln.Close, ln.Close} {
			if err := close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := <-waiting; !errors.Is(err, carrier.ErrSessionRefused) {
			t.Errorf("a request that waited: %v, want ErrSessionRefused", err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept that waited: %v, want net.ErrClosed", err)
		}
		if _, err := l.Accept(within(t, patience)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		for _, name := range []string{"inn", "streams"} {
			if _, err := p.ab.NewSession(within(t, patience), name, nil); !errors.Is(err, carrier.ErrSessionRefused) {
				t.Errorf("a request after Close: %v, want ErrSessionRefused", err)
			}
		}
		x, y := streamBetween(t, a, b, nil)
		go echoConn(y)
		if err := talkTo(x, []byte("as before")); err != nil {
			t.Errorf("a session that was accepted before: %v", err)
		}
		p.listen(t, "inn", nil)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.listen(t, "other", nil).Accept(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Accept whose context ends: %v, want its error", err)
		}
	})
}

// TestListenerOfManyRequests: what nobody accepts is bounded, and refused.
func TestListenerOfManyRequests(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		p.listen(t, "slow", nil)
		var mu sync.Mutex
		refused, waiting := 0, 0
		var asking sync.WaitGroup
		ctx := within(t, time.Minute)
		for range 300 {
			asking.Go(func() {
				_, err := p.ab.NewSession(ctx, "slow", nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, carrier.ErrSessionRefused):
					refused++
				case errors.Is(err, context.DeadlineExceeded):
					waiting++
				default:
					t.Errorf("got %v, want a refusal or the end of ctx", err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		asking.Wait()
		t.Logf("of 300 requests %d waited and %d were refused", waiting, refused)
		if refused == 0 || waiting == 0 {
			t.Errorf("%d waited and %d were refused, want some of each", waiting, refused)
		}
		// What was given up makes room.
		a, _ := p.session(t, "quick", nil)
		a.Close()
	})
}

// TestAllow decides who may have a session; its error is the reason.
func TestAllow(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		carol := newPerson(t, n, "Carol")
		cb, _ := befriend(carol, p.bob)
		allow := func(r *carrier.SessionRequest) error {
			time.Sleep(time.Second) // it may take its time
			switch {
			case r.Friend().ID() != p.alice.ID():
				return errors.New("only Alice may")
			case string(r.Metadata()) == "long":
				return errors.New(strings.Repeat("é", 200))
			}
			return nil
		}
		ln, err := p.bob.Listen("private", &carrier.ListenOptions{Allow: allow})
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		c, err := p.ab.Dial(within(t, patience), "private")
		if err != nil {
			t.Fatal(err)
		}
		if err := talkTo(c, []byte("it is me")); err != nil {
			t.Error(err)
		}
		_, err = cb.Dial(within(t, patience), "private")
		if !errors.Is(err, carrier.ErrSessionRefused) || !strings.Contains(err.Error(), "only Alice may") {
			t.Errorf("Carol's Dial: %v, want ErrSessionRefused with what Allow says", err)
		}
		_, err = p.ab.NewSession(within(t, patience), "private", &carrier.SessionOptions{Metadata: []byte("long")})
		if !errors.Is(err, carrier.ErrSessionRefused) || !strings.Contains(err.Error(), strings.Repeat("é", 127)+`"`) {
			t.Errorf("a reason of 400 bytes: %v, want ErrSessionRefused and its first 254", err)
		}
	})
}

// TestSessionWithNoFriend: strangers get nowhere, at once.
func TestSessionWithNoFriend(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		pending := p.alice.add(somebody(), "")
		for name, call := range map[string]func() error{
			"Dial":       func() error { _, err := pending.Dial(within(t, patience), "x"); return err },
			"NewSession": func() error { _, err := pending.NewSession(within(t, patience), "x", nil); return err },
		} {
			if err := call(); !errors.Is(err, carrier.ErrNotFriend) {
				t.Errorf("%s to somebody who has not accepted: %v, want ErrNotFriend", name, err)
			}
		}
		a, b := p.session(t, "friends", nil)
		if err := p.ab.Remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ab.Dial(within(t, patience), "friends"); !errors.Is(err, carrier.ErrNotFriend) {
			t.Errorf("Dial after Remove: %v, want ErrNotFriend", err)
		}
		for name, s := range map[string]*carrier.Session{"Alice's": a, "Bob's": b} {
			select {
			case <-s.Done():
				t.Logf("%s session after Remove: %v", name, s.Err())
			case <-time.After(10 * time.Second):
				t.Errorf("%s session goes on 10 s after Remove", name)
			}
		}
	})
}

// TestSessionStates: both ends see them in order.
func TestSessionStates(t *testing.T) {
	bubbleWithDelay(t, 10*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		l := p.listen(t, "states", nil)
		var mu sync.Mutex
		seen := map[string][]string{}
		note := func(who, what string) {
			mu.Lock()
			defer mu.Unlock()
			seen[who] = append(seen[who], what)
		}
		state := func(who string, s *carrier.Session) {
			select {
			case <-s.Done():
				note(who, fmt.Sprintf("ended %t", s.Err() != nil))
			default:
				note(who, fmt.Sprintf("open %t", s.Err() == nil))
			}
		}
		var work sync.WaitGroup
		work.Go(func() {
			r, err := l.Accept(within(t, patience))
			if err != nil {
				t.Error(err)
				return
			}
			note("Bob", "asked for "+r.Service())
			time.Sleep(time.Second)
			s, err := r.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			note("Bob", "accepted")
			state("Bob", s)
			if _, err := s.AcceptStream(within(t, patience)); !errors.Is(err, carrier.ErrPeerClosed) {
				t.Errorf("AcceptStream: %v, want ErrPeerClosed", err)
			}
			<-s.Done()
			state("Bob", s)
		})
		begun := time.Now()
		note("Alice", "asks")
		s, err := p.ab.NewSession(within(t, patience), "states", nil)
		if err != nil {
			t.Fatal(err)
		}
		note("Alice", fmt.Sprint("opened after ", time.Since(begun).Round(50*time.Millisecond)))
		state("Alice", s)
		time.Sleep(time.Second)
		s.Close()
		note("Alice", "closes")
		<-s.Done()
		state("Alice", s)
		work.Wait()
		if want := []string{"asks", "opened after 1s", "open true", "closes", "ended true"}; !slices.Equal(seen["Alice"], want) {
			t.Errorf("Alice saw %q, want %q", seen["Alice"], want)
		}
		if want := []string{"asked for states", "accepted", "open true", "ended true"}; !slices.Equal(seen["Bob"], want) {
			t.Errorf("Bob saw %q, want %q", seen["Bob"], want)
		}
	})
}
