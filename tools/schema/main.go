// Command schema writes the tables of src/kube/schema/tables and the protobuf vectors of
// tests/vectors from the Go types of Kubernetes and Istio. The product needs neither it nor Go.
//
//	go run . -tables ../../src/kube/schema/tables -vectors ../../tests/vectors
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// roots are the kinds of each table file; every type they reach is written into the file of its
// own package.
var roots = []any{
	corev1.Pod{}, corev1.Service{}, corev1.Endpoints{}, corev1.ConfigMap{}, corev1.Secret{},
	corev1.Namespace{}, corev1.Node{}, corev1.Event{}, corev1.ServiceAccount{},
	corev1.PodTemplate{}, corev1.PersistentVolumeClaim{}, corev1.LimitRange{},
	corev1.ResourceQuota{}, corev1.Binding{}, corev1.ReplicationController{},
	appsv1.Deployment{}, appsv1.ReplicaSet{}, appsv1.StatefulSet{}, appsv1.DaemonSet{},
	batchv1.Job{}, batchv1.CronJob{},
	autoscalingv1.Scale{}, autoscalingv2.HorizontalPodAutoscaler{},
	policyv1.PodDisruptionBudget{}, policyv1.Eviction{},
	networkingv1.NetworkPolicy{}, networkingv1.Ingress{},
	discoveryv1.EndpointSlice{}, eventsv1.Event{}, coordinationv1.Lease{},
	rbacv1.Role{}, rbacv1.ClusterRole{}, rbacv1.RoleBinding{}, rbacv1.ClusterRoleBinding{},
	authenticationv1.TokenReview{}, authenticationv1.SelfSubjectReview{},
	authenticationv1.TokenRequest{},
	authorizationv1.SubjectAccessReview{}, authorizationv1.SelfSubjectAccessReview{},
	authorizationv1.LocalSubjectAccessReview{}, authorizationv1.SelfSubjectRulesReview{},
	apiextensionsv1.CustomResourceDefinition{},
	metav1.DeleteOptions{}, metav1.CreateOptions{}, metav1.UpdateOptions{},
	metav1.PatchOptions{}, metav1.Status{},
}

func main() {
	tables := flag.String("tables", "", "folder of the table files")
	vectors := flag.String("vectors", "", "folder of the protobuf vectors")
	flag.Parse()
	log.SetFlags(0)
	if *tables != "" {
		w := &walker{messages: map[string][]string{}, docs: loadDocs()}
		for _, r := range roots {
			w.message(reflect.TypeOf(r))
		}
		istioMessages(w)
		w.write(*tables)
	}
	if *vectors != "" {
		writeVectors(*vectors)
	}
}

// write puts each message into the file of its group: core.v1.Pod into core.txt.
func (w *walker) write(dir string) {
	files := map[string][]string{}
	for name := range w.messages {
		file := strings.SplitN(name, ".", 2)[0]
		files[file] = append(files[file], name)
	}
	for file, names := range files {
		sort.Strings(names)
		var b strings.Builder
		fmt.Fprintf(&b, "# Written by tools/schema; do not edit. Format: ../README.md.\n")
		for _, n := range names {
			fmt.Fprintf(&b, "M %s\n", n)
			for _, line := range w.messages[n] {
				fmt.Fprintf(&b, "%s\n", line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file+".txt"), []byte(b.String()), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
