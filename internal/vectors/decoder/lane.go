package decoder

import (
	"bytes"
	"fmt"
	"sort"
)

// Credits at the start (Lanes).
const (
	laneCredit = 512 << 10
	linkCredit = 1 << 20
	lanesAtAll = 128
)

// half is what one end writes on a lane.
type half struct {
	bytes   []byte // in order from 0
	pending []Data // beyond, by offset
	high    uint64 // behind the highest byte
	final   uint64 // size, once it is told
	told    bool
	reset   *Reset
	stopped bool // by the other end
}

// whole reports whether all bytes up to a FIN have come.
func (h *half) whole() bool { return h.told && h.reset == nil && uint64(len(h.bytes)) == h.final }

// ended reports whether no byte is missing that matters.
func (h *half) ended() bool { return h.reset != nil || h.whole() }

// finish takes a final size.
func (h *half) finish(size uint64) error {
	if size < h.high || h.told && size != h.final {
		return fmt.Errorf("final size %d, though %d bytes or a size of %d were told before", size, h.high, h.final)
	}
	h.told, h.final, h.high = true, size, size
	return nil
}

// add takes a DATA frame.
func (h *half) add(d *Data) error {
	end := d.Offset + uint64(len(d.Data))
	if h.told && end > h.final {
		return fmt.Errorf("byte %d beyond the final size %d", end, h.final)
	}
	h.high = max(h.high, end)
	if d.Fin {
		if err := h.finish(end); err != nil {
			return err
		}
	}
	if len(d.Data) > 0 {
		h.pending = append(h.pending, *d)
		sort.SliceStable(h.pending, func(i, j int) bool { return h.pending[i].Offset < h.pending[j].Offset })
	}
	for len(h.pending) > 0 && h.pending[0].Offset <= uint64(len(h.bytes)) {
		next := h.pending[0]
		h.pending = h.pending[1:]
		known := min(uint64(len(h.bytes))-next.Offset, uint64(len(next.Data)))
		if !bytes.Equal(h.bytes[next.Offset:next.Offset+known], next.Data[:known]) {
			return fmt.Errorf("bytes at %d that differ from what came before", next.Offset)
		}
		h.bytes = append(h.bytes, next.Data[known:]...)
	}
	return nil
}
