package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

func init() { apiextensionsv1.AddToScheme(scheme.Scheme) }

// writeVectors encodes with the serializer that client-go uses: NAME.bin is the body of a request,
// NAME.json what encoding/json prints for the same object.
func writeVectors(dir string) {
	for _, r := range roots {
		t := reflect.TypeOf(r)
		if t == reflect.TypeOf(metav1.Status{}) {
			continue
		}
		full := reflect.New(t)
		n := 0
		fill(full.Elem(), 0, &n)
		writeVector(dir, "full", full.Interface().(runtime.Object))
	}
	for name, o := range examples() {
		writeVector(dir, name, o)
	}
}

func gvkOf(o runtime.Object) schema.GroupVersionKind {
	switch o.(type) {
	case *metav1.DeleteOptions, *metav1.CreateOptions, *metav1.UpdateOptions, *metav1.PatchOptions:
		return schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1",
			Kind: reflect.TypeOf(o).Elem().Name()}
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		log.Fatal(err)
	}
	return kinds[0]
}

func writeVector(dir, suffix string, o runtime.Object) {
	gvk := gvkOf(o)
	o.GetObjectKind().SetGroupVersionKind(gvk)
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b); err != nil {
		log.Fatal(gvk, ": ", err)
	}
	text, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		log.Fatal(gvk, ": ", err)
	}
	name := strings.ToLower(gvk.Kind)
	if gvk.Group != "" && gvk.Group != "meta.k8s.io" {
		name += "." + strings.SplitN(gvk.Group, ".", 2)[0]
	}
	name += "." + suffix
	for ext, data := range map[string][]byte{".bin": b.Bytes(), ".json": append(text, '\n')} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), data, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

const maxDepth = 9

// fill sets every field it reaches to a value that is not zero and differs from its neighbours'.
func fill(v reflect.Value, depth int, n *int) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *metav1.TypeMeta:
		return
	case *resource.Quantity:
		*x = resource.MustParse([]string{"100m", "1Gi", "1500", "0.5"}[*n%4])
		_ = x.String()
		return
	case *metav1.Time:
		*x = metav1.NewTime(time.Unix(1700000000+int64(*n), 0).UTC())
		return
	case *metav1.MicroTime:
		*x = metav1.NewMicroTime(time.Unix(1700000000+int64(*n), 123456000).UTC())
		return
	case *metav1.Duration:
		x.Duration = time.Duration(*n) * time.Second
		return
	case *metav1.FieldsV1:
		x.Raw = []byte(`{"f:metadata":{"f:name":{}}}`)
		return
	case *intstr.IntOrString:
		if *n%2 == 0 {
			*x = intstr.FromInt32(int32(*n))
		} else {
			*x = intstr.FromString("25%")
		}
		return
	case *runtime.RawExtension:
		x.Raw = []byte(`{"apiVersion":"v1","kind":"ConfigMap"}`)
		return
	case *apiextensionsv1.JSON:
		x.Raw = []byte(`{"a":[1,"b",null]}`)
		return
	case *apiextensionsv1.JSONSchemaPropsOrArray:
		if depth < maxDepth {
			x.Schema = &apiextensionsv1.JSONSchemaProps{Type: "string"}
		} else {
			x.JSONSchemas = []apiextensionsv1.JSONSchemaProps{{Type: "integer"}, {Type: "string"}}
		}
		return
	case *apiextensionsv1.JSONSchemaPropsOrBool:
		x.Allows = true
		if *n%2 == 0 {
			x.Schema = &apiextensionsv1.JSONSchemaProps{Type: "boolean"}
		}
		return
	case *apiextensionsv1.JSONSchemaPropsOrStringArray:
		x.Property = []string{"a", "b"}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if depth > maxDepth {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1, n)
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i), depth+1, n)
			}
		}
	case reflect.Slice:
		if depth > maxDepth {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{0, 255, byte(*n), 'x'})
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), depth+1, n)
		if k := v.Type().Elem().Kind(); k != reflect.Struct || depth < 5 {
			fill(v.Index(1), depth+1, n)
		}
	case reflect.Map:
		if depth > maxDepth {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"one", "two"} {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, depth+1, n)
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
		}
	case reflect.String:
		v.SetString(v.Type().Name() + "-" + string(rune('a'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) << 33)
	case reflect.Int32:
		v.SetInt(-int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	default:
		log.Fatalf("cannot fill %s", v.Type())
	}
}

func examples() map[string]runtime.Object {
	replicas, grace := int32(0), int64(0)
	zero, no := int64(0), false
	policy := metav1.DeletePropagationBackground
	return map[string]runtime.Object{
		"zeros": &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "hello", Namespace: "default"},
			Spec: appsv1.DeploymentSpec{Replicas: &replicas,
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "hello"}},
				Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &zero, EnableServiceLinks: &no,
					Containers: []corev1.Container{{Name: "c", Image: "i:v1",
						Env: []corev1.EnvVar{{Name: "EMPTY"}}}}}}}},
		"helm": &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "sh.helm.release.v1.x.v1", Namespace: "default",
				Labels: map[string]string{"owner": "helm", "status": "deployed"}},
			Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("H4sIAAAA"), "empty": {}}},
		"background": &metav1.DeleteOptions{PropagationPolicy: &policy, GracePeriodSeconds: &grace},
		"empty":      &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "empty"}},
	}
}
