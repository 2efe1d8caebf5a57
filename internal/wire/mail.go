package wire

import "math"

// Mail is one batch of messages, standing alone. Either Items or Part is set.
type Mail struct {
	Sequence   Sequence
	Generation uint64 // of the slot it stands in, rising; of a datagram the time it was made
	Bond       uint64
	Base       uint64  // lowest number not final at the sender
	First      uint64  // number of the first item, or of the message a part belongs to
	Prior      [8]byte // first bytes of the ID of the message numbered before First; zero if there is none, or it is not known
	Items      []Item  // consecutive numbers, at least one
	Part       *Part
}

// Item is one message, or a SKIP: its sender asks for the number to be passed over.
type Item struct {
	Skip bool // Time and Body are empty then
	ID   MessageID
	Time int64 // unix ms, by the sender's clock
	Body []byte
}

// Part is a piece of an encoded item that is too large for one slot.
// Parts join only if sequence, number, generation and count agree.
type Part struct {
	Set   uint64 // generation of the whole set
	Index uint8  // from 0
	Count uint8  // at most MaxSlots
	Bytes []byte // at least one
}

// The lengths that batches are packed by.
const (
	MailOverhead = 1 + sequenceSize + 5*8 + 1 + 1  // a batch of items without its items
	PartOverhead = 1 + sequenceSize + 5*8 + 1 + 12 // a part without its bytes
	ItemOverhead = 1 + 16 + 8 + 4                  // an item that is a message, without its body
	SkipSize     = 1 + 16                          // an item that is a SKIP
)

// What follows the numbers of a mail record.
const (
	mailItems = 0
	mailPart  = 1
)

// AppendMail appends the encoded batch:
//
//	 0   1  format
//	 1  20  sequence
//	21   8  generation
//	29   8  bond
//	37   8  base, at least 1
//	45   8  first, at least 1
//	53   8  prior
//	61   1  0: items follow, 1: a part
//	62   1  count of items, at least 1
//	63   …  items
//
// or, instead of the last two, the part. It panics if there is neither items
// nor a part, or both.
func AppendMail(dst []byte, x *Mail) []byte {
	if (len(x.Items) == 0) == (x.Part == nil) {
		panic("wire: mail has either items or a part")
	}
	dst = AppendUint8(dst, Format)
	dst = AppendSequence(dst, x.Sequence)
	dst = AppendUint64(dst, x.Generation)
	dst = AppendUint64(dst, x.Bond)
	dst = AppendUint64(dst, x.Base)
	dst = AppendUint64(dst, x.First)
	dst = append(dst, x.Prior[:]...)
	if x.Part != nil {
		return AppendPart(AppendUint8(dst, mailPart), x.Part)
	}
	dst = AppendUint8(dst, mailItems)
	dst = AppendUint8(dst, uint8(length(len(x.Items), MaxItems)))
	for i := range x.Items {
		dst = AppendItem(dst, &x.Items[i])
	}
	return dst
}

// ParseMail decodes what AppendMail writes.
func ParseMail(b []byte) (*Mail, error) {
	r := NewReader(b)
	r.format()
	x := &Mail{
		Sequence:   r.Sequence(),
		Generation: r.Uint64(),
		Bond:       r.Uint64(),
		Base:       r.Uint64(),
		First:      r.Uint64(),
	}
	r.Fill(x.Prior[:])
	r.check(x.Base >= 1 && x.First >= 1 && x.First <= math.MaxUint64-MaxItems, "mail number")
	switch shape := r.Uint8(); shape {
	case mailItems:
		n := r.Count(MaxItems)
		r.check(n >= 1, "mail without items")
		for range n {
			x.Items = append(x.Items, r.item())
			if r.err != nil {
				break
			}
		}
	case mailPart:
		x.Part = r.part()
	default:
		r.check(false, "shape of mail")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}

// AppendItem appends the encoded item:
//
//	0   1  0: a message, 1: a SKIP
//	1  16  ID
//
// and for a message:
//
//	17   8  time
//	25   4  length of the body, at most 65,536
//	29   …  body
func AppendItem(dst []byte, x *Item) []byte {
	dst = AppendBool(dst, x.Skip)
	dst = append(dst, x.ID[:]...)
	if x.Skip {
		return dst
	}
	return AppendBytes32(AppendTime(dst, x.Time), x.Body)
}

// ParseItem decodes what AppendItem writes.
func ParseItem(b []byte) (*Item, error) {
	r := NewReader(b)
	x := r.item()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return &x, nil
}

// Size returns the length of the encoded item.
func (x *Item) Size() int {
	if x.Skip {
		return SkipSize
	}
	return ItemOverhead + len(x.Body)
}

func (r *Reader) item() Item {
	x := Item{Skip: r.Bool()}
	r.Fill(x.ID[:])
	if !x.Skip {
		x.Time = r.Time()
		x.Body = r.Bytes32(MaxMessage)
	}
	return x
}

// AppendPart appends the encoded part:
//
//	 0  8  generation of the set
//	 8  1  index, from 0
//	 9  1  count, at most 8
//	10  2  length of the bytes, at least 1
//	12  …  bytes
func AppendPart(dst []byte, x *Part) []byte {
	dst = AppendUint64(dst, x.Set)
	dst = AppendUint8(dst, x.Index)
	dst = AppendUint8(dst, x.Count)
	return AppendBytes16(dst, x.Bytes)
}

// ParsePart decodes what AppendPart writes.
func ParsePart(b []byte) (*Part, error) {
	r := NewReader(b)
	x := r.part()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}

func (r *Reader) part() *Part {
	x := &Part{Set: r.Uint64(), Index: r.Uint8(), Count: r.Uint8()}
	r.check(x.Index < x.Count && x.Count <= MaxSlots, "index or count of a part")
	x.Bytes = r.Bytes16(math.MaxUint16)
	r.check(len(x.Bytes) > 0, "part without bytes")
	return x
}
