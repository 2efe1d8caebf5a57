// Package vectors holds docs/SPEC.md and docs/vectors against each other and
// against the code: that what the tables of the specification say of bytes is
// where the vectors have it, that its registries and figures are those of the
// source, and that every vector is explained. It has tests only, and imports
// nothing of this module: it reads the source as text, as another implementer
// would.
package vectors
