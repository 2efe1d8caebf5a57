package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// packetNet is what TestPacketConn compares: a Host and the operating system.
type packetNet interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// osNet is the operating system's loopback.
type osNet struct {
	net.ListenConfig
	net.Dialer
}

// udpConn is what *net.UDPConn has besides net.PacketConn.
type udpConn interface {
	net.PacketConn
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// TestPacketConn holds that a Conn behaves as the operating system's socket does: each case runs on both, and on a
// Conn within a bubble too.
func TestPacketConn(t *testing.T) {
	cases := []struct {
		name string
		run  func(*testing.T, packetNet)
	}{
		{"exchange", testExchange},
		{"short buffer", testShortBuffer},
		{"empty datagram", testEmptyDatagram},
		{"read deadline", testReadDeadline},
		{"past deadline wins over data", testPastDeadline},
		{"deadline moved while reading", testDeadlineMoved},
		{"write deadline", testWriteDeadline},
		{"close ends reads", testCloseEndsReads},
		{"after close", testAfterClose},
		{"address in use", testAddressInUse},
		{"address not available", testAddressNotAvailable},
		{"too long", testTooLong},
		{"wrong family", testWrongFamily},
		{"connected", testConnected},
		{"write not connected", testNotConnected},
		{"dual stack", testDualStack},
		{"parallel use", testParallelUse},
	}
	for _, c := range cases {
		t.Run("os/"+c.name, func(t *testing.T) { c.run(t, &osNet{}) })
		onLab := func(t *testing.T) {
			n := New(Options{})
			defer n.Close()
			c.run(t, n.Host(netip.MustParseAddr("10.0.0.1")))
		}
		t.Run("lab/"+c.name, onLab)
		t.Run("bubble/"+c.name, func(t *testing.T) { synctest.Test(t, onLab) })
	}
}

func listen(t *testing.T, n packetNet, network, address string) udpConn {
	t.Helper()
	c, err := n.ListenPacket(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(udpConn)
}

func write(t *testing.T, c net.PacketConn, b string, to net.Addr) {
	t.Helper()
	if n, err := c.WriteTo([]byte(b), to); n != len(b) || err != nil {
		t.Fatalf("WriteTo = %d, %v, want %d, nil", n, err, len(b))
	}
}

// read takes one datagram, which must come within a second.
func read(t *testing.T, c net.PacketConn) (string, net.Addr) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 2048)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatalf("ReadFrom: %v", err)
	}
	return string(b[:n]), from
}

func testExchange(t *testing.T, n packetNet) {
	a, b := listen(t, n, "udp4", "127.0.0.1:0"), listen(t, n, "udp4", "127.0.0.1:0")
	if _, ok := a.LocalAddr().(*net.UDPAddr); !ok {
		t.Errorf("LocalAddr is %T, want *net.UDPAddr", a.LocalAddr())
	}
	write(t, a, "ping", b.LocalAddr())
	got, from := read(t, b)
	if got != "ping" || from.String() != a.LocalAddr().String() {
		t.Errorf("got %q from %v, want ping from %v", got, from, a.LocalAddr())
	}
	if _, ok := from.(*net.UDPAddr); !ok {
		t.Errorf("sender is %T, want *net.UDPAddr", from)
	}
	if _, err := b.WriteToUDPAddrPort([]byte("pong"), from.(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	k, sender, err := a.ReadFromUDPAddrPort(buf)
	if want := b.LocalAddr().(*net.UDPAddr).AddrPort(); string(buf[:k]) != "pong" || sender != want || err != nil {
		t.Errorf("got %q, %v, %v, want pong from %v", buf[:k], sender, err, want)
	}
}

func testShortBuffer(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	write(t, a, "first", a.LocalAddr())
	write(t, a, "second", a.LocalAddr())
	b := make([]byte, 3)
	if k, _, _ := a.ReadFrom(b); string(b[:k]) != "fir" {
		t.Errorf("got %q, want fir", b[:k])
	}
	if got, _ := read(t, a); got != "second" {
		t.Errorf("got %q, want second: the rest of the first is lost", got)
	}
}

func testEmptyDatagram(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	write(t, a, "", a.LocalAddr())
	if got, from := read(t, a); got != "" || from == nil {
		t.Errorf("got %q from %v, want an empty datagram", got, from)
	}
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a timeout that matches os.ErrDeadlineExceeded", err)
	}
}

// wantErrno wants an error that matches errno. Windows has other numbers for its sockets, so any error is right there.
func wantErrno(t *testing.T, err error, errno syscall.Errno) {
	t.Helper()
	if err == nil || runtime.GOOS != "windows" && !errors.Is(err, errno) {
		t.Errorf("got %v, want %v", err, errno)
	}
}

func testReadDeadline(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	start := time.Now()
	a.SetDeadline(start.Add(30 * time.Millisecond))
	_, _, err := a.ReadFrom(make([]byte, 1))
	wantTimeout(t, err)
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("failed after %v, want 30 ms", took)
	}
	a.SetReadDeadline(time.Time{})
	a.SetWriteDeadline(time.Time{})
	write(t, a, "x", a.LocalAddr())
	if got, _ := read(t, a); got != "x" {
		t.Errorf("got %q, want x: a deadline does not kill the conn", got)
	}
}

func testPastDeadline(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	write(t, a, "x", a.LocalAddr())
	a.SetReadDeadline(time.Now().Add(-time.Second))
	_, _, err := a.ReadFrom(make([]byte, 1))
	wantTimeout(t, err)
}

func testDeadlineMoved(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	a.SetReadDeadline(time.Now().Add(time.Hour))
	done := make(chan error)
	go func() {
		_, _, err := a.ReadFrom(make([]byte, 1))
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	a.SetReadDeadline(time.Now())
	wantTimeout(t, <-done)
}

func testWriteDeadline(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	a.SetWriteDeadline(time.Now().Add(-time.Second))
	_, err := a.WriteTo([]byte("x"), a.LocalAddr())
	wantTimeout(t, err)
}

func testCloseEndsReads(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	done := make(chan error)
	for range 2 {
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 1))
			done <- err
		}()
	}
	time.Sleep(5 * time.Millisecond)
	a.Close()
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", err)
		}
	}
}

func testAfterClose(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, readErr := a.ReadFrom(make([]byte, 1))
	_, writeErr := a.WriteTo([]byte("x"), a.LocalAddr())
	for i, err := range []error{readErr, writeErr, a.SetDeadline(time.Time{}), a.Close()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("call %d gave %v, want net.ErrClosed", i, err)
		}
	}
	listen(t, n, "udp4", a.LocalAddr().String()) // the port is free again
}

func testAddressInUse(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	_, err := n.ListenPacket(t.Context(), "udp4", a.LocalAddr().String())
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("got %T, want a *net.OpError", err)
	}
	wantErrno(t, err, syscall.EADDRINUSE)
}

func testAddressNotAvailable(t *testing.T, n packetNet) {
	_, err := n.ListenPacket(t.Context(), "udp4", "192.0.2.1:0")
	wantErrno(t, err, syscall.EADDRNOTAVAIL)
}

func testTooLong(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	_, err := a.WriteTo(make([]byte, 65508), a.LocalAddr())
	wantErrno(t, err, syscall.EMSGSIZE)
	if _, err := a.WriteTo(make([]byte, 65507), a.LocalAddr()); err != nil {
		t.Errorf("the largest datagram: %v", err)
	}
}

func testWrongFamily(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	if _, err := a.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv6loopback, Port: 9}); err == nil {
		t.Error("an IPv4 socket sent to an IPv6 address")
	}
	if _, err := a.WriteTo([]byte("x"), &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}); err == nil {
		t.Error("sent to what is not a *net.UDPAddr")
	}
}

func testConnected(t *testing.T, n packetNet) {
	a, stranger := listen(t, n, "udp4", "127.0.0.1:0"), listen(t, n, "udp4", "127.0.0.1:0")
	c, err := n.DialContext(t.Context(), "udp4", a.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != a.LocalAddr().String() {
		t.Errorf("RemoteAddr = %v, want %v", got, a.LocalAddr())
	}
	if _, err := c.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	_, from := read(t, a)
	write(t, stranger, "intruder", from)
	write(t, a, "answer", from)
	c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 20)
	if k, err := c.Read(b); string(b[:k]) != "answer" || err != nil {
		t.Errorf("got %q, %v, want answer: strangers are not heard", b[:k], err)
	}
	if _, err := c.(net.PacketConn).WriteTo([]byte("x"), a.LocalAddr()); !errors.Is(err, net.ErrWriteToConnected) {
		t.Errorf("WriteTo gave %v, want net.ErrWriteToConnected", err)
	}
}

func testNotConnected(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	if _, err := a.(net.Conn).Write([]byte("x")); err == nil {
		t.Error("Write on a conn that is not connected succeeded")
	}
}

func testDualStack(t *testing.T, n packetNet) {
	dual := listen(t, n, "udp", ":0")
	port := dual.LocalAddr().(*net.UDPAddr).Port
	mapped := dual.LocalAddr().(*net.UDPAddr).IP.To4() == nil // a machine without IPv6 has no dual stack
	_, err := n.ListenPacket(t.Context(), "udp4", fmt.Sprintf("127.0.0.1:%d", port))
	wantErrno(t, err, syscall.EADDRINUSE)
	a := listen(t, n, "udp4", "127.0.0.1:0")
	write(t, a, "four", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	b := make([]byte, 10)
	k, from, err := dual.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:k]) != "four" || from.Addr().Is4In6() != mapped {
		t.Errorf("got %q, %v, %v, want four from a 4-in-6 address", b[:k], from, err)
	}
	if _, err := dual.WriteToUDPAddrPort([]byte("back"), from); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, a); got != "back" {
		t.Errorf("got %q, want back", got)
	}
}

// testParallelUse is for the race detector.
func testParallelUse(t *testing.T, n packetNet) {
	a := listen(t, n, "udp4", "127.0.0.1:0")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				a.WriteTo([]byte("x"), a.LocalAddr())
				a.SetReadDeadline(time.Now().Add(time.Millisecond))
				a.ReadFrom(make([]byte, 1))
			}
		})
	}
	wg.Wait()
}

func TestDialTCPIsRefused(t *testing.T) {
	n := New(Options{})
	defer n.Close()
	_, err := n.Host(netip.MustParseAddr("10.0.0.1")).DialContext(t.Context(), "tcp", "10.0.0.2:80")
	if err == nil || !strings.Contains(err.Error(), "udp only") {
		t.Errorf("got %v, want an error that says udp only", err)
	}
}
