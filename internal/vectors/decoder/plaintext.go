package decoder

// Kinds of records.
const (
	kindState   = 1
	kindProfile = 2
	kindMail    = 3
	kindNote    = 4
	kindHello   = 5
	kindRequest = 6
)

// Plaintext is what is sealed into an envelope, slot or request.
type Plaintext struct {
	Kind uint8 `json:"kind,string"`
	Body Hex   `json:"body"`
	Size int   `json:"size,string"`
}

// SignedRecord is the body of a plaintext, sealed once more in mail.
type SignedRecord struct {
	Signature Hex `json:"signature"`
	Record    Hex `json:"record"`
}

// MailBody is the body of a plaintext of mail.
type MailBody struct {
	Prekey uint64 `json:"prekey,string"`
	Sealed Hex    `json:"sealed"`
}

// LinkRecord is a record over a link.
type LinkRecord struct {
	Kind uint8 `json:"kind,string"`
	Body Hex   `json:"body"`
}

// Envelope is a datagram with a sealed plaintext.
type Envelope struct {
	Tag    Hex `json:"tag"`
	Sealed Hex `json:"sealed"`
}

// kind is a byte of a registry from 1 on.
func (r *reader) kind(most uint8) uint8 {
	k := r.u8()
	if r.err == nil && (k < 1 || k > most) {
		r.fail(Kind)
	}
	return k
}

func readPlaintext(r *reader) *Plaintext {
	p := &Plaintext{Kind: r.kind(kindRequest), Size: len(r.bytes)}
	p.Body = r.take(uint64(r.u16()))
	r.zeros()
	return p
}

// zeros takes all that is left, which is zero, and counts it.
func (r *reader) zeros() (n uint64) {
	rest := r.tail()
	for _, b := range rest {
		r.must(b == 0)
	}
	return uint64(len(rest))
}

func readSigned(r *reader) *SignedRecord {
	return &SignedRecord{Signature: r.take(64), Record: r.tail()}
}

func readMailBody(r *reader) *MailBody {
	return &MailBody{Prekey: r.u64(), Sealed: r.tail()}
}

// maxLinkRecord is the size of a record over a link at most.
const maxLinkRecord = 131072

func readLinkRecord(r *reader) *LinkRecord {
	r.must(len(r.bytes) <= maxLinkRecord)
	return &LinkRecord{Kind: r.kind(kindNote), Body: r.tail()}
}

func readEnvelope(r *reader) *Envelope {
	switch first := r.u8(); {
	case first > 0xC8 && first <= 0xCB:
		r.fail(Format)
	case first != 0xC8:
		r.fail(Value)
	}
	switch len(r.bytes) {
	case 256, 512, 900, 1408:
	default:
		r.fail(Value)
	}
	return &Envelope{Tag: r.take(8), Sealed: r.tail()}
}
