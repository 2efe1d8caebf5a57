package crypto

import (
	"fmt"
	"io"
	"log/slog"
)

const redactedText = "[redacted]"

// secret is embedded in every type that holds one. It makes the type print,
// log and marshal without the secret, and not comparable by ==.
//
// The secret stands in a function: package fmt does not call Format on the
// unexported fields of other structs and follows pointers in some of them,
// but nothing looks into a function.
type secret[T any] struct {
	reveal func() T // nil in the zero value
}

func hide[T any](v T) secret[T] { return secret[T]{reveal: func() T { return v }} }

// Format implements [fmt.Formatter]: every verb prints "[redacted]".
func (secret[T]) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedText) }

// String returns "[redacted]".
func (secret[T]) String() string { return redactedText }

// GoString returns "[redacted]".
func (secret[T]) GoString() string { return redactedText }

// LogValue implements [slog.LogValuer]: the value logs as "[redacted]".
func (secret[T]) LogValue() slog.Value { return slog.StringValue(redactedText) }

// MarshalText implements [encoding.TextMarshaler], and so stands for JSON and
// XML too: the text is "[redacted]". There is no way back from it.
func (secret[T]) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
