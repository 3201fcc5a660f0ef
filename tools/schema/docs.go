package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
)

// docs holds what only the sources' comments say: list types and keys, optional, enumerations.
type docs struct {
	fields map[string]fieldDoc // "k8s.io/api/core/v1.PodSpec.Containers"
	enums  map[string][]string // "k8s.io/api/core/v1.DNSPolicy"
}

type fieldDoc struct {
	listType string
	mapKeys  []string
	optional bool
}

func (d *docs) field(owner reflect.Type, name string) fieldDoc {
	return d.fields[typeID(owner)+"."+name]
}

func (d *docs) enum(t reflect.Type) []string {
	if t.Kind() != reflect.String || t.PkgPath() == "" {
		return nil
	}
	return d.enums[typeID(t)]
}

func loadDocs() *docs {
	d := &docs{fields: map[string]fieldDoc{}, enums: map[string][]string{}}
	for _, module := range []string{"k8s.io/api", "k8s.io/apimachinery",
		"k8s.io/apiextensions-apiserver"} {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			log.Fatal(module, ": ", err)
		}
		d.loadModule(module, strings.TrimSpace(string(out)))
	}
	return d
}

func (d *docs) loadModule(module, dir string) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), "types") ||
			!strings.HasSuffix(e.Name(), ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			log.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, filepath.Dir(path))
		d.loadFile(module+"/"+filepath.ToSlash(rel), file)
		return nil
	})
}

func (d *docs) loadFile(pkg string, file *ast.File) {
	enumTypes := map[string]bool{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			if strings.Contains(commentText(gen.Doc)+commentText(t.Doc), "+enum") {
				enumTypes[t.Name.Name] = true
			}
			if s, ok := t.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, n := range f.Names {
						d.fields[pkg+"."+t.Name.Name+"."+n.Name] = parseDoc(commentText(f.Doc))
					}
				}
			}
		}
	}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			id, ok := v.Type.(*ast.Ident)
			if !ok || !enumTypes[id.Name] {
				continue
			}
			for _, value := range v.Values {
				if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					key := pkg + "." + id.Name
					d.enums[key] = append(d.enums[key], strings.Trim(lit.Value, `"`))
				}
			}
		}
	}
	for t := range enumTypes {
		sort.Strings(d.enums[pkg+"."+t])
	}
}

func commentText(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

func parseDoc(text string) fieldDoc {
	var d fieldDoc
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "//"))
		switch {
		case strings.HasPrefix(line, "+listType="):
			d.listType = strings.TrimPrefix(line, "+listType=")
		case strings.HasPrefix(line, "+listMapKey="):
			d.mapKeys = append(d.mapKeys, strings.TrimPrefix(line, "+listMapKey="))
		case strings.HasPrefix(line, "+optional"):
			d.optional = true
		}
	}
	return d
}
