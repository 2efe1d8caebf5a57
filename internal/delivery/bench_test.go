package delivery

import (
	"fmt"
	"testing"

	"github.com/gocarrier/carrier/internal/wire"
)

// BenchmarkSend is one message: Send, Take and, a receipt later, its end; with
// that many others pending.
func BenchmarkSend(b *testing.B) {
	for _, pending := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			n, _ := pair(b)
			body := make([]byte, 100)
			for i := range pending {
				must(b, n.peer.Send(start, Message{ID: numbered(i), Body: body}))
			}
			n.peer.Take()
			b.ReportAllocs()
			i := pending
			for b.Loop() {
				if err := n.peer.Send(start, Message{ID: numbered(i), Body: body}); err != nil {
					b.Fatal(err)
				}
				n.peer.Take()
				base := n.peer.base()
				n.peer.Receipt(start, &wire.Receipt{Sequence: n.peer.sequence, Number: base, Mark: MarkOf(n.peer.flight[0].id), Known: 1})
				n.peer.Take()
				i++
			}
		})
	}
}

// BenchmarkReceive is one message that is new, after 1,024 others.
func BenchmarkReceive(b *testing.B) {
	_, n := pair(b)
	body := make([]byte, 100)
	number := uint64(0)
	receive := func() {
		number++
		m := wire.Mail{Base: number, First: number, Items: []wire.Item{{ID: numbered(int(number)), Body: body}}}
		if !n.peer.Receive(start, &m, 1) {
			b.Fatal("not taken")
		}
		n.peer.Consumed(start, 1, len(body))
		n.peer.Take()
	}
	for range 1024 {
		receive()
	}
	b.ReportAllocs()
	for b.Loop() {
		receive()
	}
}

// BenchmarkPending is what a courier is shown of a full window.
func BenchmarkPending(b *testing.B) {
	n, _ := pair(b)
	for i := range 2000 {
		must(b, n.peer.Send(start, Message{ID: numbered(i)}))
	}
	b.ReportAllocs()
	for b.Loop() {
		n.peer.Pending()
	}
}
