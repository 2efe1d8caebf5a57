package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/store"
)

// The sentinels that calls of this package return, to be tested with
// errors.Is. Most arrive inside an *Error, which says what was tried and what
// to do. A call that ends with its context matches the context's error; a call
// on a closed node matches net.ErrClosed.
var (
	// ErrNoDir is returned by Start when Config.Dir is empty and
	// Config.Ephemeral is not set.
	ErrNoDir = errors.New("no state directory given")
	// ErrDirInUse is returned by Start when another node, of this or another
	// process, has the state directory open.
	ErrDirInUse = errors.New("state directory is in use")
	// ErrPortInUse is returned by Start when the port of Config.Listen is taken.
	ErrPortInUse = errors.New("port is in use")
	// ErrWrongKey is returned by Start when the state directory cannot be
	// opened with Config.Key or the key file beside it, and by SetPassphrase for
	// a directory under Config.Key.
	ErrWrongKey = errors.New("wrong key for this state directory")
	// ErrWrongPassphrase is returned by Start when the state directory is under
	// another passphrase than Config.Passphrase, under one and none was given,
	// or under none and one was given; by OpenIdentity for another passphrase
	// than that of SealIdentity; and by all that take one for an empty one.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrDamaged is returned by Start when a file of the state directory is not
	// what was written there: cut short, changed, or of another program. No
	// file is written to. A node that meets it later fails, see ErrFailed.
	ErrDamaged = errors.New("state directory is damaged")
	// ErrNewer is returned by Start when a later version of carrier has written
	// the state directory, and by OpenIdentity for a text of one.
	ErrNewer = errors.New("written by a newer version")
	// ErrFailed is returned by every call on a node that could no longer read or
	// write its state directory, because the disk is full, gone or damaged, and
	// by Start when it cannot write there. The node has stopped; nothing that a
	// call acknowledged is lost. The error also matches the cause, such as
	// syscall.ENOSPC or ErrDamaged, and on a node that was running net.ErrClosed.
	// Such a node has closed by itself: friends see it go, and what they send waits
	// in the DHT. Node.Err tells of it; when Close has returned the directory can be
	// started again.
	ErrFailed = errors.New("state directory has failed")
	// ErrWrongIdentity is returned by Start when Config.Identity is damaged,
	// or the state directory already belongs to another identity; by
	// SealIdentity and OpenIdentity when what they are given is no identity.
	ErrWrongIdentity = errors.New("identity does not fit")
	// ErrNotReady is returned by WaitReady when its context ended before any
	// node of the DHT had answered.
	ErrNotReady = errors.New("no DHT node has answered")
	// ErrBadAddress is returned by ParseAddress, ParseID and AddFriend. The
	// error also matches the reason: crypto.ErrBase58, crypto.ErrLength,
	// crypto.ErrVersion, crypto.ErrChecksum or crypto.ErrKey.
	ErrBadAddress = errors.New("not a valid address")
	// ErrSelf is returned by calls that need somebody else's ID or Address and
	// were given the node's own.
	ErrSelf = errors.New("that is this node itself")
	// ErrNotFriend is returned by calls that need a friend.
	ErrNotFriend = errors.New("not a friend")
	// ErrNoRequest is returned by Accept and Refuse when that person has no
	// request pending.
	ErrNoRequest = errors.New("no request of that person is pending")
	// ErrBlocked is returned by AddFriend, Accept and Refuse for a blocked person.
	ErrBlocked = errors.New("person is blocked")
	// ErrTooLong is returned when a text or body exceeds its limit.
	ErrTooLong = errors.New("too long")
	// ErrBadText is returned when a name, description, label or hello is not
	// valid UTF-8 or has control characters.
	ErrBadText = errors.New("not a valid text")
	// ErrOutboxFull is returned by Send when too much waits for that friend.
	ErrOutboxFull = errors.New("outbox is full")
	// ErrReaderBusy ends a second loop over Messages while one is running.
	ErrReaderBusy = errors.New("another loop is reading messages")
	// ErrRefused is returned by WaitAccepted, WaitStored and WaitDelivered when
	// the friend refused or removed us.
	ErrRefused = errors.New("refused by the peer")
	// ErrExpired is returned by WaitAccepted when a request found no answer in
	// 30 days, and by WaitStored and WaitDelivered when the message expired.
	ErrExpired = errors.New("expired")
	// ErrCancelled is returned by WaitAccepted, WaitStored and WaitDelivered
	// when we removed the friend, and by SessionRequest.Accept when the friend no
	// longer wants the session.
	ErrCancelled = errors.New("cancelled")
	// ErrOffline is returned by NewSession with NoWait when the friend is not
	// there.
	ErrOffline = errors.New("the friend is offline")
	// ErrServiceInUse is returned by Listen and ListenSessions for a name that
	// has a listener.
	ErrServiceInUse = errors.New("service is in use")
	// ErrBadService is returned by Listen, ListenSessions, NewSession and Dial
	// for a name that is empty, too long, or not a text.
	ErrBadService = errors.New("not a valid name of a service")
	// ErrSessionRefused is returned by NewSession and Dial when the friend
	// refuses, or has no such service; the text has the friend's reason.
	ErrSessionRefused = errors.New("the friend refused the session")
	// ErrTooManyStreams is returned by OpenStream at the session's limit, and by
	// a stream that the friend did not take for its.
	ErrTooManyStreams = errors.New("too many streams")
	// ErrPeerClosed says that the friend closed the session, or the stream that
	// is written to.
	ErrPeerClosed = errors.New("closed by the friend")
	// ErrAborted says that the session was aborted, by either end.
	ErrAborted = errors.New("session aborted")
	// ErrLinkLost says that the session ended with the link to the friend.
	ErrLinkLost = errors.New("the link to the friend is lost")
	// ErrOverBudget says that the session was closed because all sessions
	// together held more than Config.SessionMemory.
	ErrOverBudget = errors.New("too much memory in sessions")
)

// Error is what most failing calls return: what was tried, on what, why it
// failed and what helps. Unwrap gives the sentinels and causes behind it.
type Error struct {
	Op   string // "start", "send", "add friend", …
	What string // the object: an ID, a directory, an address; may be empty
	Err  error  // what happened
	Hint string // what to do; may be empty
}

// Error gives all of it in one line.
func (e *Error) Error() string {
	s := "carrier: " + e.Op
	if e.What != "" {
		s += " " + e.What
	}
	s += ": " + e.Err.Error()
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// because joins a sentinel with the cause behind it, so that both match.
func because(sentinel, cause error) error {
	if cause == nil || errors.Is(cause, sentinel) {
		return sentinel
	}
	return fmt.Errorf("%w: %w", sentinel, cause)
}

// closedError is what calls on a closed node return; cause is why it closed,
// when that was not Close.
func closedError(op string, cause error) error {
	if cause == nil || errors.Is(cause, net.ErrClosed) {
		return &Error{Op: op, Err: whyClosed(cause), Hint: "start a new one"}
	}
	return &Error{Op: op, Err: whyClosed(cause), Hint: "make room or mend the disk, then start the node again"}
}

// whyClosed is what sessions on a closed node end with; cause as in closedError.
func whyClosed(cause error) error {
	if cause == nil || errors.Is(cause, net.ErrClosed) {
		return fmt.Errorf("node is closed: %w", net.ErrClosed)
	}
	return failure{cause}
}

// failure is why a node has stopped by itself. It matches net.ErrClosed, as on
// any node that has stopped, without saying so: the reason is what counts.
type failure struct{ cause error }

func (f failure) Error() string { return ErrFailed.Error() + ": " + f.cause.Error() }

func (f failure) Unwrap() error { return f.cause }

func (f failure) Is(target error) bool {
	return target == ErrFailed || target == net.ErrClosed || target == ErrDamaged && errors.Is(f.cause, store.ErrDamaged)
}

// storeError puts a failure to open the state directory into the words of this
// package.
func storeError(op, dir string, err error) error {
	e := &Error{Op: op, What: dir, Err: err}
	switch {
	case errors.Is(err, store.ErrInUse):
		e.Err, e.Hint = because(ErrDirInUse, err), "close the other node, or give this one a directory of its own"
	case errors.Is(err, store.ErrPassphrase):
		e.Err, e.Hint = because(ErrWrongPassphrase, err), "give the Config.Passphrase that was set last, or none if there is none"
	case errors.Is(err, store.ErrWrongKey):
		e.Err, e.Hint = because(ErrWrongKey, err), "give the Config.Key, or put back the key file, that this directory was made with"
	case errors.Is(err, store.ErrNewer):
		e.Err = because(ErrNewer, err)
	case errors.Is(err, store.ErrDamaged):
		e.Err = because(ErrDamaged, err)
	case errors.Is(err, store.ErrFailed):
		e.Err, e.Hint = because(ErrFailed, err), "make room or mend the disk, then start the node again"
	}
	return e
}

// ctxError says that a context ended a wait.
func ctxError(ctx context.Context, op, what, waiting string) error {
	return &Error{Op: op, What: what, Err: fmt.Errorf("%s: %w", waiting, ended(ctx))}
}

// ended is why a context has ended: its error and its cause.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// ParseID reads an ID from its base58 or did:key form. Its error matches
// ErrBadAddress and the reason.
func ParseID(s string) (ID, error) {
	id, err := crypto.ParseID(s)
	if err != nil {
		if did, derr := crypto.ParseDIDKey(s); derr == nil {
			return did, nil
		}
		return ID{}, badAddress("parse ID", err)
	}
	return id, nil
}

// ParseAddress reads an Address from its base58 form. Its error matches
// ErrBadAddress and the reason.
func ParseAddress(s string) (Address, error) {
	a, err := crypto.ParseAddress(s)
	if err != nil {
		return Address{}, badAddress("parse address", err)
	}
	return a, nil
}

func badAddress(op string, err error) error {
	return &Error{Op: op, Err: because(ErrBadAddress, err), Hint: "copy it whole, as the other person's program shows it"}
}
