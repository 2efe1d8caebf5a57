// Package decoder reads what carrier nodes say to each other, from docs/SPEC.md
// alone. It shares no code with the rest of the module and imports nothing of
// it, so that it fails where the specification says too little or something
// else than the nodes do. Its tests hold it against docs/vectors: the cases of
// keys, records, frames, envelopes and packets, and the recorded link, of which
// every byte must be accounted for.
//
// It looks at recordings and is no node: it sends nothing, answers nothing, and
// stops at the first byte that it cannot explain. Each section of the
// specification has a file of its own; names are those of the specification.
package decoder
