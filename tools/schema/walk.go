package main

import (
	"fmt"
	"log"
	"reflect"
	"sort"
	"strings"
)

type walker struct {
	messages map[string][]string
	docs     *docs
}

// Types that the table format names itself.
var leaves = map[string]string{
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                    "Quantity",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                        "Time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                   "MicroTime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                                    "Duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                    "FieldsV1",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                  "IntOrString",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                     "Raw",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                    "Any",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":  "SchemaOrArray",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":   "SchemaOrBool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "SchemaOrStrings",
	"k8s.io/api/authentication/v1.ExtraValue":                                          "Strings",
	"k8s.io/api/authorization/v1.ExtraValue":                                           "Strings",
}

func typeID(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

// shortName turns k8s.io/api/core/v1.Pod into core.v1.Pod.
func shortName(t reflect.Type) string {
	p := t.PkgPath()
	for from, to := range map[string]string{
		"k8s.io/api/":                                  "",
		"k8s.io/apimachinery/pkg/apis/":                "",
		"k8s.io/apiextensions-apiserver/pkg/apis/":     "",
	} {
		if strings.HasPrefix(p, from) {
			p = to + strings.TrimPrefix(p, from)
		}
	}
	return strings.ReplaceAll(p, "/", ".") + "." + t.Name()
}

// typeName gives the table's name of a type and walks what it reaches.
func (w *walker) typeName(t reflect.Type) (name string, shape string) {
	if leaf, ok := leaves[typeID(t)]; ok {
		return leaf, ""
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.typeName(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes", ""
		}
		n, s := w.typeName(t.Elem())
		if s != "" {
			log.Fatalf("nested collection in %s", t)
		}
		return n, "[]"
	case reflect.Map:
		n, s := w.typeName(t.Elem())
		if s != "" {
			log.Fatalf("nested collection in %s", t)
		}
		return n, "{}"
	case reflect.String:
		return "string", ""
	case reflect.Bool:
		return "bool", ""
	case reflect.Int32, reflect.Int16, reflect.Uint32:
		return "int32", ""
	case reflect.Int, reflect.Int64:
		return "int64", ""
	case reflect.Float64, reflect.Float32:
		return "double", ""
	case reflect.Struct:
		w.message(t)
		return shortName(t), ""
	}
	log.Fatalf("no table type for %s", t)
	return "", ""
}

func (w *walker) message(t reflect.Type) {
	name := shortName(t)
	if _, done := w.messages[name]; done {
		return
	}
	w.messages[name] = nil // breaks recursion
	var lines []string
	isKind := false
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		if f.Type.Name() == "TypeMeta" && f.Anonymous {
			isKind = true
			continue
		}
		lines = append(lines, w.field(t, f)...)
	}
	if isKind {
		lines = append(lines, "  apiVersion 0 string", "  kind 0 string")
	}
	sort.Strings(lines)
	w.messages[name] = lines
}

func (w *walker) field(owner reflect.Type, f reflect.StructField) []string {
	jsonName, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if jsonName == "-" {
		return nil
	}
	number := "0"
	if pb := f.Tag.Get("protobuf"); pb != "" {
		if parts := strings.Split(pb, ","); len(parts) > 1 {
			number = parts[1]
		}
	}
	typeText, shape := w.typeName(f.Type)
	inlined := f.Anonymous && jsonName == ""
	if inlined {
		if f.Type.Kind() == reflect.Pointer {
			log.Fatalf("inlined pointer %s.%s", owner, f.Name)
		}
		return []string{fmt.Sprintf("  .%s %s %s inline", f.Name, number, typeText)}
	}
	if jsonName == "" {
		log.Fatalf("no JSON name: %s.%s", owner, f.Name)
	}
	omit := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
	flags := ""
	base := f.Type
	if base.Kind() == reflect.Pointer {
		flags += " p"
		base = base.Elem()
	} else {
		// encoding/json never omits a struct for omitempty, only for omitzero. For a list or map z
		// means: an empty one is kept.
		isStruct := base.Kind() == reflect.Struct
		if isStruct && !strings.Contains(options, "omitzero") || !isStruct && !omit {
			switch typeText {
			case "Time", "MicroTime", "Raw", "Any", "FieldsV1", "bytes":
			default:
				flags += " z"
			}
		}
	}
	strategy := f.Tag.Get("patchStrategy")
	for _, s := range strings.Split(strategy, ",") {
		switch s {
		case "":
		case "merge":
			flags += " merge"
			if k := f.Tag.Get("patchMergeKey"); k != "" {
				flags += "=" + k
			}
		case "retainKeys":
			flags += " retain"
		case "replace":
			flags += " replace"
		default:
			log.Fatalf("patch strategy %q", s)
		}
	}
	doc := w.docs.field(owner, f.Name)
	if doc.listType == "map" && len(doc.mapKeys) > 0 {
		flags += " keys=" + strings.Join(doc.mapKeys, ",")
	}
	if doc.listType == "set" {
		flags += " set"
	}
	if !omit && !doc.optional {
		flags += " req"
	}
	if base.Kind() == reflect.Slice || base.Kind() == reflect.Map {
		base = base.Elem()
	}
	if base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	if e := w.docs.enum(base); len(e) > 0 {
		flags += " enum=" + strings.Join(e, "|")
	}
	return []string{fmt.Sprintf("  %s %s %s%s%s", jsonName, number, shape, typeText, flags)}
}
