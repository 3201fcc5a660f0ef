package main

import (
	"fmt"
	"log"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	extensions "istio.io/api/extensions/v1alpha1"
	meta "istio.io/api/meta/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingbeta "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	typebeta "istio.io/api/type/v1beta1"
)

var istioRoots = []proto.Message{
	&networking.Gateway{}, &networking.VirtualService{}, &networking.DestinationRule{},
	&networking.ServiceEntry{}, &networking.Sidecar{}, &networking.WorkloadEntry{},
	&networking.WorkloadGroup{}, &networking.EnvoyFilter{}, &networkingbeta.ProxyConfig{},
	&networking.ServiceEntryStatus{},
	&security.PeerAuthentication{}, &security.AuthorizationPolicy{},
	&security.RequestAuthentication{}, &telemetry.Telemetry{}, &extensions.WasmPlugin{},
	&meta.IstioStatus{}, &typebeta.WorkloadSelector{},
}

// istioMessages writes Istio's messages under "istio.<group>.<Message>"; every kind's root message is
// {apiVersion, kind, metadata, spec, status}, written by hand beside the kinds.
func istioMessages(w *walker) {
	for _, m := range istioRoots {
		w.istio(m.ProtoReflect().Descriptor())
	}
}

func istioName(m protoreflect.MessageDescriptor) string {
	full := string(m.FullName()) // istio.networking.v1alpha3.Gateway
	parts := strings.Split(full, ".")
	if parts[0] != "istio" {
		log.Fatalf("foreign message %s", full)
	}
	return "istio." + parts[1] + "." + strings.Join(parts[3:], "_")
}

// JSON forms of the well-known types.
var wellKnown = map[string]string{
	"google.protobuf.BoolValue":   "bool",
	"google.protobuf.UInt32Value": "int64",
	"google.protobuf.Int32Value":  "int32",
	"google.protobuf.UInt64Value": "int64",
	"google.protobuf.Int64Value":  "int64",
	"google.protobuf.DoubleValue": "double",
	"google.protobuf.StringValue": "string",
	"google.protobuf.Duration":    "Duration",
	"google.protobuf.Timestamp":   "Time",
	"google.protobuf.Struct":      "Raw",
	"google.protobuf.Value":       "Any",
	"google.protobuf.Empty":       "Raw",
}

func (w *walker) istioType(f protoreflect.FieldDescriptor) (name, flags string) {
	switch f.Kind() {
	case protoreflect.StringKind:
		return "string", ""
	case protoreflect.BoolKind:
		return "bool", ""
	case protoreflect.Int32Kind:
		return "int32", ""
	case protoreflect.Uint32Kind, protoreflect.Int64Kind, protoreflect.Uint64Kind:
		return "int64", ""
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "double", ""
	case protoreflect.BytesKind:
		return "bytes", ""
	case protoreflect.EnumKind:
		var values []string
		for i := 0; i < f.Enum().Values().Len(); i++ {
			values = append(values, string(f.Enum().Values().Get(i).Name()))
		}
		return "string", " enum=" + strings.Join(values, "|")
	case protoreflect.MessageKind:
		if n, ok := wellKnown[string(f.Message().FullName())]; ok {
			return n, ""
		}
		w.istio(f.Message())
		return istioName(f.Message()), ""
	}
	log.Fatalf("no table type for %s", f.FullName())
	return "", ""
}

func (w *walker) istio(m protoreflect.MessageDescriptor) {
	name := istioName(m)
	if _, done := w.messages[name]; done {
		return
	}
	w.messages[name] = nil
	var lines []string
	for i := 0; i < m.Fields().Len(); i++ {
		f := m.Fields().Get(i)
		shape, element := "", f
		if f.IsMap() {
			shape, element = "{}", f.MapValue()
		} else if f.IsList() {
			shape = "[]"
		}
		typeText, flags := w.istioType(element)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			flags += " oneof=" + string(o.Name())
		}
		lines = append(lines, fmt.Sprintf("  %s 0 %s%s%s", f.JSONName(), shape, typeText, flags))
	}
	sort.Strings(lines)
	w.messages[name] = lines
}
