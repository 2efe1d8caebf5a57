package transport

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/udpio"
)

// loopback joins two links over real sockets on this machine.
func loopback(tb testing.TB) *joined {
	tb.Helper()
	j := &joined{line: &line{}, wa: newWitness(), wb: newWitness()}
	var sockets [2]*udpio.Socket
	for i := range sockets {
		s, err := udpio.Listen(tb.Context(), nil, "udp4", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = s.Close() })
		sockets[i] = s
		j.at[i] = s.LocalAddr()
	}
	master := bytes.Repeat([]byte{7}, 32)
	buffers := &sync.Pool{New: func() any { b := make([]byte, roundSize); return &b }}
	for end, w := range []*witness{j.wa, j.wb} {
		d := &direct{sockets: []Socket{sockets[end]}}
		env := linkEnv{
			handler: w, log: slog.New(slog.DiscardHandler), buffers: buffers,
			register: func(*Link, uint32, uint32) {}, unregister: func(*Link, uint32) {},
			up: func(*Link) {}, proven: func(*Link) {}, changed: func(*Link) {}, down: func(*Link, error) {}, stopped: func(*Link) {},
		}
		l := newLink(env, linkConfig{
			peer: crypto.ID{byte(end)}, lower: end == 0, master: bytes.Clone(master), keys: newLinkKeys(suiteAES128GCM, master, end == 0),
			conduit: d, remote: j.at[1-end],
		})
		j.links[end] = l
		sockets[end].Handle(udpio.Data, func(b []byte, from netip.AddrPort) { l.receive(b, d, from, 0) })
	}
	j.a, j.b = j.links[0], j.links[1]
	tb.Cleanup(j.close)
	<-j.a.up
	<-j.b.up
	return j
}

// BenchmarkLane is one lane over loopback, keys and sockets included.
func BenchmarkLane(b *testing.B) {
	j := loopback(b)
	w, err := j.a.OpenLane()
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 10
	b.SetBytes(size)
	b.ReportAllocs()
	done := make(chan error, 1)
	go func() {
		r := <-j.wb.lanes
		_, err := io.CopyN(io.Discard, r, int64(b.N)*size)
		done <- err
	}()
	data := noise(1, size)
	b.ResetTimer()
	for range b.N {
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
