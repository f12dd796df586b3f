package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// fieldTree is what a field of a configuration holds: fields of its own, where it is an object, or a list of objects.
type fieldTree struct {
	fields map[string]fieldTree
	list   bool
}

// fieldsOf returns the names that encoding/json knows in a struct's type.
func fieldsOf(v any) map[string]fieldTree { return typeFields(reflect.TypeOf(v)) }

func typeFields(t reflect.Type) map[string]fieldTree {
	all := map[string]fieldTree{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-", !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "":
			for k, v := range typeFields(f.Type) {
				if _, shadowed := all[k]; !shadowed {
					all[k] = v
				}
			}
		case name == "":
			all[f.Name] = treeOf(f.Type)
		default:
			all[name] = treeOf(f.Type)
		}
	}
	return all
}

// treeOf looks into structs, but not into those that read themselves.
func treeOf(t reflect.Type) fieldTree {
	for _, reads := range []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()} {
		if t.Implements(reads) || reflect.PointerTo(t).Implements(reads) {
			return fieldTree{}
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return treeOf(t.Elem())
	case reflect.Struct:
		return fieldTree{fields: typeFields(t)}
	case reflect.Slice:
		if in := treeOf(t.Elem()); in.fields != nil {
			return fieldTree{fields: in.fields, list: true}
		}
	}
	return fieldTree{}
}

// didYouMean names the nearest of the known names, if one is near enough to have been meant.
func didYouMean(name string, known []string) string {
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; is %q meant?", best)
}

// distance is how many letters must be added, taken, changed or swapped with their neighbour to make one word of the
// other (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range b {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			changed := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			rows[i][j] = min(changed, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
