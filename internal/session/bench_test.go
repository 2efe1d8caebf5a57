package session

import (
	"io"
	"testing"
)

// BenchmarkStream is one stream at full speed, both ends in one process.
func BenchmarkStream(b *testing.B) {
	for name, c := range map[string]struct {
		limit int
		o     *StreamOptions
	}{"limit 1": {limit: 1}, "limit 256": {limit: 256}, "bulk": {limit: 1, o: &StreamOptions{Bulk: true}}} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b, 0)
			x, y := p.connect(c.limit)
			st, to := stream(b, x, y, c.o)
			buf := make([]byte, 128<<10)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			go func() {
				for b.Loop() {
					if _, err := st.Write(buf); err != nil {
						b.Error(err)
						break
					}
				}
				_ = st.CloseWrite() // the reader sees the end
			}()
			if _, err := io.Copy(io.Discard, to); err != nil {
				b.Error(err)
			}
		})
	}
}
