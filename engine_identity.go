package carrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/wire"
)

// checkText puts the refusal of a text into the words of this package.
func checkText(op, what string, refusal error, size, limit int) error {
	switch {
	case refusal == nil:
		return nil
	case size > limit:
		return &Error{Op: op, What: what, Err: fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, size, limit)}
	}
	return &Error{Op: op, What: what, Err: ErrBadText, Hint: "use UTF-8 without control characters"}
}

func checkProfile(op string, p Profile) error {
	if err := checkText(op, "name", wire.CheckName(p.Name), len(p.Name), wire.MaxName); err != nil {
		return err
	}
	return checkText(op, "description", wire.CheckDescription(p.Description), len(p.Description), wire.MaxDescr)
}

func (e *engine) address() Address {
	e.selfMu.Lock()
	defer e.selfMu.Unlock()
	return Address{ID: e.identity.ID(), Nospam: e.nospam}
}

func (e *engine) newAddress() (Address, error) {
	nospam := crypto.NewNospam()
	err := e.do(context.Background(), "new address", func() error {
		e.putNodeRow(rowNospam, nospam[:])
		e.selfMu.Lock()
		e.nospam = nospam
		e.selfMu.Unlock()
		e.courier.SetAddress(e.address())
		return nil
	})
	if err != nil {
		return Address{}, err
	}
	return Address{ID: e.identity.ID(), Nospam: nospam}, nil
}

func (e *engine) profile() Profile {
	e.selfMu.Lock()
	defer e.selfMu.Unlock()
	return Profile{Name: e.self.Name, Description: e.self.Description}
}

func (e *engine) setProfile(p Profile) error {
	if err := checkProfile("set profile", p); err != nil {
		return err
	}
	return e.do(context.Background(), "set profile", func() error {
		next := &wire.Profile{
			Incarnation: e.incarnation,
			Version:     max(e.self.Version+1, uint64(e.Now().UnixMilli())),
			Name:        p.Name,
			Description: p.Description,
		}
		e.putNodeRow(rowProfile, wire.AppendProfile(nil, next))
		e.selfMu.Lock()
		e.self = next
		e.selfMu.Unlock()
		e.courier.ProfileChanged(next)
		return nil
	})
}

func (e *engine) setPresence(p Presence) error {
	switch p {
	case PresenceOnline, PresenceAway, PresenceBusy:
	default:
		return &Error{Op: "set presence", What: p.String(), Err: errors.New("cannot be shown by a running node"), Hint: "use PresenceOnline, PresenceAway or PresenceBusy"}
	}
	return e.do(context.Background(), "set presence", func() error {
		if e.presence != p {
			e.presence = p
			e.courier.PresenceChanged()
		}
		return nil
	})
}

// setPassphrase is Node.SetPassphrase. It stays off the loop: it takes a while
// and concerns a file of its own.
func (e *engine) setPassphrase(passphrase []byte) error {
	const op = "set passphrase"
	disk, ok := e.store.(*store.Disk)
	if !ok {
		return &Error{Op: op, Err: ErrNoDir, Hint: "an ephemeral node keeps nothing that it could lock"}
	}
	err := disk.SetPassphrase(passphrase)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrClosed):
		return closedError(op, e.cause())
	case errors.Is(err, store.ErrWrongKey):
		return &Error{Op: op, What: e.config.Dir, Err: because(ErrWrongKey, err), Hint: "the program that keeps Config.Key can lock it"}
	case errors.Is(err, store.ErrPassphrase):
		return &Error{Op: op, What: e.config.Dir, Err: because(ErrWrongPassphrase, err), Hint: "use nil to take the passphrase away"}
	}
	return storeError(op, e.config.Dir, err)
}

// prekeys are the keys that mail to us is sealed to: a new one each day, the
// superseded ones for 30 days.
type prekeys struct {
	file *store.Prekeys
	keys map[uint64]*crypto.Prekey
	last wire.Prekey
}

func newPrekeys(file *store.Prekeys) *prekeys { return &prekeys{file: file} }

// rotate makes a new prekey when one is due and forgets the erased ones.
func (p *prekeys) rotate(now time.Time) error {
	_, err := p.file.Rotate(now, func() (uint64, [32]byte) {
		return max(p.last.Number+1, uint64(now.UnixMilli())), [32]byte(crypto.NewPrekey().InsecureBytes())
	})
	if err != nil {
		return fmt.Errorf("rotate prekeys: %w", err)
	}
	return p.load()
}

// load takes over the saved ones.
func (p *prekeys) load() error {
	p.keys = map[uint64]*crypto.Prekey{}
	for _, saved := range p.file.All() {
		key, err := crypto.PrekeyFromBytes(saved.Private[:])
		if err != nil {
			return fmt.Errorf("saved prekey %d: %w", saved.Number, err)
		}
		p.keys[saved.Number] = key
		if saved.Number >= p.last.Number {
			p.last = wire.Prekey{Number: saved.Number, Public: key.Public()}
		}
	}
	return nil
}

// Current implements courier.Prekeys.
func (p *prekeys) Current() wire.Prekey { return p.last }

// Open implements courier.Prekeys.
func (p *prekeys) Open(number uint64, info, ad, sealed []byte) ([]byte, error) {
	key, ok := p.keys[number]
	if !ok {
		return nil, courier.ErrPrekeyGone
	}
	return key.Open(info, ad, sealed)
}

// export is what ExportIdentity carries.
type export struct {
	identity    *crypto.Identity
	nospam      crypto.Nospam
	incarnation crypto.Incarnation
	profile     Profile
	people      map[crypto.ID][]byte // friendship rows
}

const (
	exportMagic  = "carrier identity 1\n"
	maxExportRow = 1<<16 - 1
)

// export is Node.ExportIdentity.
func (e *engine) export() ([]byte, error) {
	var out []byte
	err := e.do(context.Background(), "export identity", func() error {
		out = append(out, exportMagic...)
		out = append(out, e.identity.InsecureSeed()...)
		out = append(out, e.nospam[:]...)
		out = wire.AppendIncarnation(out, e.incarnation)
		out = wire.AppendString16(out, e.self.Name)
		out = wire.AppendString16(out, e.self.Description)
		e.All(tableFriend, func(id crypto.ID, _, row []byte) bool {
			out = append(out, id[:]...)
			out = wire.AppendBytes16(out, row)
			return true
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func parseExport(b []byte) (export, error) {
	x := export{people: map[crypto.ID][]byte{}}
	if bytes.Contains(b[:min(len(b), 4096)], []byte(identityBegin)) {
		return x, errors.New("it is a sealed text, to be opened by OpenIdentity first")
	}
	if len(b) < len(exportMagic) || string(b[:len(exportMagic)]) != exportMagic {
		return x, errors.New("not an exported identity of this version")
	}
	r := wire.NewReader(b[len(exportMagic):])
	seed := r.Bytes(32)
	r.Fill(x.nospam[:])
	x.incarnation = r.Incarnation()
	x.profile = Profile{Name: r.String16(wire.MaxName), Description: r.String16(wire.MaxDescr)}
	for r.Len() > 0 {
		var id crypto.ID
		r.Fill(id[:])
		x.people[id] = r.Bytes16(maxExportRow)
	}
	if err := r.Done(); err != nil {
		return x, fmt.Errorf("exported identity is cut short: %w", err)
	}
	if err := checkProfile("import", x.profile); err != nil {
		return x, err
	}
	var err error
	if x.identity, err = crypto.IdentityFromSeed(seed); err != nil {
		return x, err
	}
	people := friendship.New(x.identity.ID())
	for id, row := range x.people { // before they stand in a directory for ever
		if err := people.Restore(id, row); err != nil {
			return x, fmt.Errorf("exported identity is damaged: %w", err)
		}
	}
	return x, nil
}

func parseIncarnation(b []byte) (crypto.Incarnation, error) {
	r := wire.NewReader(b)
	i := r.Incarnation()
	if err := r.Done(); err != nil {
		return i, fmt.Errorf("saved incarnation: %w", err)
	}
	return i, nil
}
