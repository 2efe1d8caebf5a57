package udpio

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// option asks for a socket option of a UDP socket.
func option(t *testing.T, conn *net.UDPConn, level, opt int) (value int, err error) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, opt) }); controlErr != nil {
		t.Fatal(controlErr)
	}
	return value, err
}

// fresh opens a socket as the system makes it.
func fresh(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestKernelIsUsed: where the kernel has the calls they are used, and not with the environment variable.
func TestKernelIsUsed(t *testing.T) {
	_, noSegment := option(t, fresh(t), unix.SOL_UDP, unix.UDP_SEGMENT)
	_, noGRO := option(t, fresh(t), unix.SOL_UDP, unix.UDP_GRO)
	bothWays(t, func(t *testing.T) {
		on := os.Getenv(switchOff) == ""
		a, b := open(t, OS{}), open(t, OS{})
		got := collect(b, Data)
		for range 5 {
			if err := a.WriteSegments(numbered(40*1200, 1200), 1200, b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			for range 40 {
				take(t, got)
			}
		}
		if got, want := a.Stats().SentBatches == 5, on && noSegment == nil; got != want {
			t.Errorf("sent %v; want batches: %v", a.Stats().Counters(), want)
		}
		if got, want := b.Stats().ReceivedBatches == 5, on && noSegment == nil && noGRO == nil; got != want {
			t.Errorf("received %v; want batches: %v", b.Stats().Counters(), want)
		}
		if gro, err := option(t, b.conn.(*net.UDPConn), unix.SOL_UDP, unix.UDP_GRO); err == nil && (gro == 1) != on {
			t.Errorf("UDP_GRO is %d, want it on: %v", gro, on)
		}
	})
}

// TestOtherNetsCutThemselves: a conn that is not the operating system's own gets one datagram a call.
func TestOtherNetsCutThemselves(t *testing.T) {
	t.Setenv(switchOff, "")
	s := openAt(t, wrapping{}, "udp4", "127.0.0.1:0")
	got := collect(s, Data)
	if err := s.WriteSegments(numbered(3000, 1000), 1000, s.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		take(t, got)
	}
	if st := s.Stats(); st.SentBatches != 0 || st.ReceivedBatches != 0 {
		t.Errorf("counted %v, want no batch", st.Counters())
	}
}

// wrapping is a Net whose sockets hide what they are.
type wrapping struct{ OS }

func (w wrapping) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	conn, err := w.OS.ListenPacket(ctx, network, address)
	return struct{ net.PacketConn }{conn}, err
}

// TestOldSenderAndNewReceiver: the ways of the two ends do not depend on each other.
func TestOldSenderAndNewReceiver(t *testing.T) {
	t.Setenv(switchOff, "1")
	plain := open(t, OS{})
	t.Setenv(switchOff, "")
	fast := open(t, OS{})
	exchange(t, plain, fast, fast.LocalAddr())
	exchange(t, fast, plain, plain.LocalAddr())
}

// TestSocketBuffers: the kernel gives what was asked for, or what its limit allows, and tells the double of it.
func TestSocketBuffers(t *testing.T) {
	s := open(t, OS{})
	for opt, limit := range map[int]string{unix.SO_RCVBUF: "rmem_max", unix.SO_SNDBUF: "wmem_max"} {
		got, err := option(t, s.conn.(*net.UDPConn), unix.SOL_SOCKET, opt)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("/proc/sys/net/core/" + limit)
		if err != nil { // not shown in a network namespace: then at least it is no less than before
			if def, _ := option(t, fresh(t), unix.SOL_SOCKET, opt); got < def {
				t.Errorf("%s: a buffer of %d, the system's own is %d", limit, got, def)
			}
			continue
		}
		most, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 * min(socketBuffer, most); got != want {
			t.Errorf("%s: a buffer of %d, want %d", limit, got, want)
		}
	}
}

func TestSegmentSize(t *testing.T) {
	message := func(level, kind int32, data ...byte) []byte {
		h := unix.Cmsghdr{Level: level, Type: kind}
		h.SetLen(unix.CmsgLen(len(data)))
		b, err := binary.Append(nil, binary.NativeEndian, h)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(b, data...), make([]byte, unix.CmsgSpace(len(data))-len(b)-len(data))...)
	}
	size := binary.NativeEndian.AppendUint32(nil, 1200)
	other := binary.NativeEndian.AppendUint32(nil, 700)
	gro := message(unix.SOL_UDP, unix.UDP_GRO, size...)
	cases := map[string]struct {
		in   []byte
		want int
	}{
		"none":            {nil, 5000},
		"GRO":             {gro, 1200},
		"after another":   {append(message(unix.SOL_SOCKET, unix.UDP_GRO, other...), gro...), 1200},
		"only others":     {message(unix.SOL_UDP, unix.UDP_SEGMENT, other...), 5000},
		"cut short":       {gro[:unix.CmsgLen(0)-1], 5000},
		"too little data": {message(unix.SOL_UDP, unix.UDP_GRO, 1, 2), 5000},
		"zeros":           {make([]byte, 40), 5000},
	}
	for name, c := range cases {
		if got := segmentSize(c.in, 5000); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestParallelSegments: batches of several goroutines do not mix, and Close ends them.
func TestParallelSegments(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		a, b := open(t, OS{}), open(t, OS{})
		var wg sync.WaitGroup
		bad, arrived := make(chan string, 1), make(chan message, 1)
		b.Handle(Data, func(d []byte, _ netip.AddrPort) {
			select {
			case arrived <- message{}:
			default:
			}
			for _, c := range d[1:] {
				if c != d[1] || len(d) != 100+int(d[1]) {
					select {
					case bad <- fmt.Sprintf("%d bytes, %d among %d", len(d), c, d[1]):
					default:
					}
				}
			}
		})
		for g := range 4 {
			wg.Go(func() {
				size := 100 + g
				batch := make([]byte, 20*size)
				for i := range batch {
					batch[i] = byte(g)
					if i%size == 0 {
						batch[i] = 0xC0
					}
				}
				for {
					if err := a.WriteSegments(batch, size, b.LocalAddr()); err != nil {
						return
					}
				}
			})
		}
		for range 50 {
			take(t, arrived)
		}
		a.Close()
		wg.Wait()
		select {
		case what := <-bad:
			t.Error(what)
		default:
		}
	})
}
