// What the API says of its types beyond their fields: enumerations, defaults, list keys, which fields may be left out.
// Keys are short names as in types.gen.ts: `core.v1.ServicePort.protocol` is a field, `core.v1.Protocol` a named string.
// Defaults that depend on other fields or the cluster are in kinds/.

/** Types that kubectl does not carry. */
export const handWrittenTypes = `
apiextensions.v1.CustomResourceDefinition kind:string apiVersion:string metadata:meta.v1.ObjectMeta spec!:apiextensions.v1.CustomResourceDefinitionSpec status:apiextensions.v1.CustomResourceDefinitionStatus
apiextensions.v1.CustomResourceDefinitionSpec group!:string names!:apiextensions.v1.CustomResourceDefinitionNames scope!:'apiextensions.v1.ResourceScope versions!:[]apiextensions.v1.CustomResourceDefinitionVersion conversion*:apiextensions.v1.CustomResourceConversion preserveUnknownFields:bool
apiextensions.v1.CustomResourceDefinitionNames plural!:string singular:string shortNames:[]string kind!:string listKind:string categories:[]string
apiextensions.v1.CustomResourceDefinitionVersion name!:string served!:bool storage!:bool deprecated:bool deprecationWarning*:string schema*:apiextensions.v1.CustomResourceValidation subresources*:apiextensions.v1.CustomResourceSubresources additionalPrinterColumns:[]apiextensions.v1.CustomResourceColumnDefinition selectableFields:[]apiextensions.v1.SelectableField
apiextensions.v1.CustomResourceValidation openAPIV3Schema*:any
apiextensions.v1.CustomResourceSubresources status*:any scale*:apiextensions.v1.CustomResourceSubresourceScale
apiextensions.v1.CustomResourceSubresourceScale specReplicasPath!:string statusReplicasPath!:string labelSelectorPath*:string
apiextensions.v1.CustomResourceColumnDefinition name!:string type!:string format:string description:string priority:int32 jsonPath!:string
apiextensions.v1.SelectableField jsonPath!:string
apiextensions.v1.CustomResourceConversion strategy!:'apiextensions.v1.ConversionStrategyType webhook*:apiextensions.v1.WebhookConversion
apiextensions.v1.WebhookConversion clientConfig*:apiextensions.v1.WebhookClientConfig conversionReviewVersions!:[]string
apiextensions.v1.WebhookClientConfig url*:string service*:apiextensions.v1.ServiceReference caBundle:bytes
apiextensions.v1.ServiceReference namespace!:string name!:string path*:string port*:int32
apiextensions.v1.CustomResourceDefinitionStatus conditions:[]apiextensions.v1.CustomResourceDefinitionCondition acceptedNames:apiextensions.v1.CustomResourceDefinitionNames storedVersions:[]string observedGeneration:int64
apiextensions.v1.CustomResourceDefinitionCondition type!:string status!:'core.v1.ConditionStatus lastTransitionTime:time reason:string message:string observedGeneration:int64
`

/** Values in the order messages list them (sorted). A named string that is absent here is free text. */
export const enumerations: Record<string, readonly string[]> = {
  'apiextensions.v1.ConversionStrategyType': ['None', 'Webhook'],
  'apiextensions.v1.ResourceScope': ['Cluster', 'Namespaced'],
  'apps.v1.DaemonSetUpdateStrategyType': ['OnDelete', 'RollingUpdate'],
  'apps.v1.DeploymentStrategyType': ['Recreate', 'RollingUpdate'],
  'apps.v1.PersistentVolumeClaimRetentionPolicyType': ['Delete', 'Retain'],
  'apps.v1.PodManagementPolicyType': ['OrderedReady', 'Parallel'],
  'apps.v1.StatefulSetUpdateStrategyType': ['OnDelete', 'RollingUpdate'],
  'batch.v1.CompletionMode': ['Indexed', 'NonIndexed'],
  'batch.v1.ConcurrencyPolicy': ['Allow', 'Forbid', 'Replace'],
  'batch.v1.PodFailurePolicyAction': ['Count', 'FailIndex', 'FailJob', 'Ignore'],
  'batch.v1.PodFailurePolicyOnExitCodesOperator': ['In', 'NotIn'],
  'batch.v1.PodReplacementPolicy': ['Failed', 'TerminatingOrFailed'],
  'core.v1.AppArmorProfileType': ['Localhost', 'RuntimeDefault', 'Unconfined'],
  'core.v1.AzureDataDiskCachingMode': ['None', 'ReadOnly', 'ReadWrite'],
  'core.v1.AzureDataDiskKind': ['Dedicated', 'Managed', 'Shared'],
  'core.v1.ConditionStatus': ['False', 'True', 'Unknown'],
  'core.v1.ContainerRestartPolicy': ['Always', 'Never', 'OnFailure'],
  'core.v1.ContainerRestartRuleAction': ['Restart', 'RestartAllContainers'],
  'core.v1.ContainerRestartRuleOnExitCodesOperator': ['In', 'NotIn'],
  'core.v1.DNSPolicy': ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'],
  'core.v1.HostPathType': [
    '',
    'BlockDevice',
    'CharDevice',
    'Directory',
    'DirectoryOrCreate',
    'File',
    'FileOrCreate',
    'Socket',
  ],
  'core.v1.IPFamily': ['IPv4', 'IPv6'],
  'core.v1.IPFamilyPolicy': ['PreferDualStack', 'RequireDualStack', 'SingleStack'],
  'core.v1.LoadBalancerIPMode': ['Proxy', 'VIP'],
  'core.v1.MountPropagationMode': ['Bidirectional', 'HostToContainer', 'None'],
  'core.v1.NamespacePhase': ['Active', 'Terminating'],
  'core.v1.NodeInclusionPolicy': ['Honor', 'Ignore'],
  'core.v1.NodeSelectorOperator': ['DoesNotExist', 'Exists', 'Gt', 'In', 'Lt', 'NotIn'],
  'core.v1.OSName': ['linux', 'windows'],
  'core.v1.PersistentVolumeAccessMode': [
    'ReadOnlyMany',
    'ReadWriteMany',
    'ReadWriteOnce',
    'ReadWriteOncePod',
  ],
  'core.v1.PersistentVolumeClaimPhase': ['Bound', 'Lost', 'Pending'],
  'core.v1.PersistentVolumeMode': ['Block', 'Filesystem'],
  'core.v1.PersistentVolumePhase': ['Available', 'Bound', 'Failed', 'Pending', 'Released'],
  'core.v1.PersistentVolumeReclaimPolicy': ['Delete', 'Recycle', 'Retain'],
  'core.v1.PodFSGroupChangePolicy': ['Always', 'OnRootMismatch'],
  'core.v1.PodPhase': ['Failed', 'Pending', 'Running', 'Succeeded', 'Unknown'],
  'core.v1.PodQOSClass': ['BestEffort', 'Burstable', 'Guaranteed'],
  'core.v1.PodSELinuxChangePolicy': ['MountOption', 'Recursive'],
  'core.v1.PreemptionPolicy': ['Never', 'PreemptLowerPriority'],
  'core.v1.ProcMountType': ['Default', 'Unmasked'],
  'core.v1.Protocol': ['SCTP', 'TCP', 'UDP'],
  'core.v1.PullPolicy': ['Always', 'IfNotPresent', 'Never'],
  'core.v1.RecursiveReadOnlyMode': ['Disabled', 'Enabled', 'IfPossible'],
  'core.v1.ResourceResizeRestartPolicy': ['NotRequired', 'RestartContainer'],
  'core.v1.RestartPolicy': ['Always', 'Never', 'OnFailure'],
  'core.v1.SeccompProfileType': ['Localhost', 'RuntimeDefault', 'Unconfined'],
  'core.v1.ServiceAffinity': ['ClientIP', 'None'],
  'core.v1.ServiceExternalTrafficPolicy': ['Cluster', 'Local'],
  'core.v1.ServiceInternalTrafficPolicy': ['Cluster', 'Local'],
  'core.v1.ServiceType': ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'],
  'core.v1.SupplementalGroupsPolicy': ['Merge', 'Strict'],
  'core.v1.TaintEffect': ['NoExecute', 'NoSchedule', 'PreferNoSchedule'],
  'core.v1.TerminationMessagePolicy': ['FallbackToLogsOnError', 'File'],
  'core.v1.TolerationOperator': ['Equal', 'Exists', 'Gt', 'Lt'],
  'core.v1.URIScheme': ['HTTP', 'HTTPS'],
  'core.v1.UnsatisfiableConstraintAction': ['DoNotSchedule', 'ScheduleAnyway'],
  'discovery.v1.AddressType': ['FQDN', 'IPv4', 'IPv6'],
  'meta.v1.ConditionStatus': ['False', 'True', 'Unknown'],
  'meta.v1.DeletionPropagation': ['Background', 'Foreground', 'Orphan'],
  'meta.v1.LabelSelectorOperator': ['DoesNotExist', 'Exists', 'In', 'NotIn'],
  'networking.v1.PathType': ['Exact', 'ImplementationSpecific', 'Prefix'],
  'networking.v1.PolicyType': ['Egress', 'Ingress'],
  'policy.v1.UnhealthyPodEvictionPolicyType': ['AlwaysAllow', 'IfHealthyBudget'],
}

/** Same defaults for each of several types. */
function forTypes(types: readonly string[], fields: Record<string, unknown>): [string, unknown][] {
  return types.flatMap((type) =>
    Object.entries(fields).map(([field, value]): [string, unknown] => [`${type}.${field}`, value]),
  )
}

export const defaults: Record<string, unknown> = {
  'core.v1.ServicePort.protocol': 'TCP',
  'core.v1.ServiceSpec.type': 'ClusterIP',
  'core.v1.ServiceSpec.sessionAffinity': 'None',
  'core.v1.ContainerPort.protocol': 'TCP',
  'core.v1.EndpointPort.protocol': 'TCP',
  'core.v1.PodSpec.restartPolicy': 'Always',
  'core.v1.PodSpec.terminationGracePeriodSeconds': 30,
  'core.v1.PodSpec.dnsPolicy': 'ClusterFirst',
  'core.v1.PodSpec.securityContext': {},
  'core.v1.PodSpec.schedulerName': 'default-scheduler',
  'core.v1.Probe.timeoutSeconds': 1,
  'core.v1.Probe.periodSeconds': 10,
  'core.v1.Probe.successThreshold': 1,
  'core.v1.Probe.failureThreshold': 3,
  'core.v1.HTTPGetAction.path': '/',
  'core.v1.HTTPGetAction.scheme': 'HTTP',
  'core.v1.GRPCAction.service': '',
  'core.v1.ObjectFieldSelector.apiVersion': 'v1',
  'core.v1.ServiceAccountTokenProjection.expirationSeconds': 3600,
  'core.v1.PersistentVolumeSpec.persistentVolumeReclaimPolicy': 'Retain',
  'core.v1.PersistentVolumeSpec.volumeMode': 'Filesystem',
  'core.v1.PersistentVolumeClaimSpec.volumeMode': 'Filesystem',
  'core.v1.HostPathVolumeSource.type': '',
  'core.v1.Secret.type': 'Opaque',
  'discovery.v1.EndpointPort.name': '',
  'discovery.v1.EndpointPort.protocol': 'TCP',
  'networking.v1.NetworkPolicyPort.protocol': 'TCP',
  'networking.v1.NetworkPolicySpec.podSelector': {},
  'apps.v1.DeploymentSpec.replicas': 1,
  'apps.v1.DeploymentSpec.revisionHistoryLimit': 10,
  'apps.v1.DeploymentSpec.progressDeadlineSeconds': 600,
  'apps.v1.DeploymentStrategy.type': 'RollingUpdate',
  'apps.v1.DeploymentSpec.strategy': {},
  'apps.v1.ReplicaSetSpec.replicas': 1,
  'apps.v1.DaemonSetSpec.revisionHistoryLimit': 10,
  'apps.v1.DaemonSetSpec.updateStrategy': {},
  'apps.v1.DaemonSetUpdateStrategy.type': 'RollingUpdate',
  'apps.v1.StatefulSetSpec.replicas': 1,
  'apps.v1.StatefulSetSpec.revisionHistoryLimit': 10,
  'apps.v1.StatefulSetSpec.podManagementPolicy': 'OrderedReady',
  'apps.v1.StatefulSetSpec.updateStrategy': {},
  'apps.v1.StatefulSetUpdateStrategy.type': 'RollingUpdate',
  'apps.v1.StatefulSetSpec.persistentVolumeClaimRetentionPolicy': {},
  'apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy.whenDeleted': 'Retain',
  'apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy.whenScaled': 'Retain',
  'batch.v1.JobSpec.backoffLimit': 6,
  'batch.v1.JobSpec.completionMode': 'NonIndexed',
  'batch.v1.JobSpec.suspend': false,
  'batch.v1.JobSpec.podReplacementPolicy': 'TerminatingOrFailed',
  'batch.v1.CronJobSpec.concurrencyPolicy': 'Allow',
  'batch.v1.CronJobSpec.suspend': false,
  'batch.v1.CronJobSpec.successfulJobsHistoryLimit': 3,
  'batch.v1.CronJobSpec.failedJobsHistoryLimit': 1,
  ...Object.fromEntries([
    ...forTypes(['core.v1.Container', 'core.v1.EphemeralContainer'], {
      terminationMessagePath: '/dev/termination-log',
      terminationMessagePolicy: 'File',
      resources: {},
    }),
    ...forTypes(
      ['ConfigMapVolumeSource', 'SecretVolumeSource', 'DownwardAPIVolumeSource', 'ProjectedVolumeSource'].map(
        (name) => `core.v1.${name}`,
      ),
      { defaultMode: 0o644 },
    ),
  ]),
}

/** Where a list's keys are not simply its patch merge key. */
export const listTypes: Record<string, readonly string[] | 'set' | 'atomic'> = {
  'core.v1.Container.ports': ['containerPort', 'protocol'],
  'core.v1.EphemeralContainer.ports': ['containerPort', 'protocol'],
  'core.v1.ServiceSpec.ports': ['port', 'protocol'],
  'core.v1.PodSpec.topologySpreadConstraints': ['topologyKey', 'whenUnsatisfiable'],
  'core.v1.NamespaceSpec.finalizers': 'atomic',
  'core.v1.ResourceRequirements.claims': ['name'],
  'core.v1.PodStatus.hostIPs': 'atomic',
  'core.v1.PersistentVolumeClaimStatus.conditions': ['type'],
  'discovery.v1.Endpoint.addresses': 'set',
  'apiextensions.v1.CustomResourceDefinitionStatus.conditions': ['type'],
  'networking.v1.ServiceCIDRSpec.cidrs': 'atomic',
}

/** Objects and maps that server-side apply owns as a whole: type names, or single fields. */
export const atomicMaps: ReadonlySet<string> = new Set([
  'meta.v1.LabelSelector',
  'core.v1.ObjectReference',
  'core.v1.LocalObjectReference',
  'core.v1.TypedLocalObjectReference',
  'core.v1.SecretReference',
  'core.v1.ConfigMapKeySelector',
  'core.v1.SecretKeySelector',
  'core.v1.ObjectFieldSelector',
  'core.v1.ResourceFieldSelector',
  'core.v1.FileKeySelector',
  'core.v1.NodeSelector',
  'core.v1.NodeSelectorTerm',
  'core.v1.ServiceSpec.selector',
  'core.v1.PodSpec.nodeSelector',
  'core.v1.ReplicationControllerSpec.selector',
  'networking.v1.ServiceBackendPort',
  'networking.v1.IngressClassParametersReference',
  'rbac.v1.RoleRef',
  'rbac.v1.Subject',
])

/** Pointers in Go that the API nevertheless insists on. */
export const requiredFields: ReadonlySet<string> = new Set([
  'apps.v1.DaemonSetSpec.selector',
  'apps.v1.DeploymentSpec.selector',
  'apps.v1.ReplicaSetSpec.selector',
  'apps.v1.StatefulSetSpec.selector',
  'batch.v1.CronJob.spec',
  'core.v1.ContainerRestartRule.action',
  'core.v1.ContainerRestartRuleOnExitCodes.operator',
  'core.v1.PodCertificateProjection.keyType',
  'core.v1.PodCertificateProjection.signerName',
  'core.v1.ScaleIOPersistentVolumeSource.secretRef',
  'core.v1.ScaleIOVolumeSource.secretRef',
  'networking.v1.HTTPIngressPath.pathType',
  'networking.v1.IPAddress.spec',
  'networking.v1.IPAddressSpec.parentRef',
  'networking.v1.ParentReference.name',
  'networking.v1.ParentReference.resource',
])

/** Written always by Go, yet not asked of users. */
export const optionalFields: ReadonlySet<string> = new Set([
  'apps.v1.StatefulSetOrdinals.start',
  'apps.v1.StatefulSetSpec.serviceName',
  'apps.v1.StatefulSetStatus.availableReplicas',
  'batch.v1.PodFailurePolicyOnPodConditionsPattern.status',
  'core.v1.ContainerImage.names',
  'core.v1.Event.reportingComponent',
  'core.v1.Event.reportingInstance',
  'core.v1.NodeRuntimeHandler.name',
  'core.v1.ProjectedVolumeSource.sources',
  'discovery.v1.EndpointSlice.endpoints',
  'discovery.v1.EndpointSlice.ports',
  'events.v1.Event.metadata',
  'networking.v1.NetworkPolicySpec.podSelector',
  'policy.v1.PodDisruptionBudgetStatus.currentHealthy',
  'policy.v1.PodDisruptionBudgetStatus.desiredHealthy',
  'policy.v1.PodDisruptionBudgetStatus.disruptionsAllowed',
  'policy.v1.PodDisruptionBudgetStatus.expectedPods',
  'rbac.v1.ClusterRole.rules',
  'rbac.v1.Role.rules',
  'rbac.v1.RoleRef.apiGroup',
])

/** One line for `kubectl explain` where a word helps most. */
export const definitionDescriptions: Record<string, string> = {
  'core.v1.Service': 'A stable address in front of the pods a selector chooses.',
  'core.v1.Pod': 'Containers that share one network namespace and are placed on one node.',
  'core.v1.Node': 'A machine that runs pods.',
  'core.v1.Namespace': 'A scope for names.',
  'discovery.v1.EndpointSlice': 'Some of the addresses behind a Service, with the state of each.',
  'networking.v1.NetworkPolicy': 'Which traffic the chosen pods may receive and send.',
  'apps.v1.Deployment': 'Keeps a number of equal pods and replaces them step by step.',
  'coordination.v1.Lease': 'A lock with an owner and a time of renewal.',
}

export const fieldDescriptions: Record<string, string> = {
  'core.v1.ServiceSpec.ports': 'The ports the Service listens on.',
  'core.v1.ServiceSpec.selector':
    'Labels of the pods behind the Service; without it, endpoints are written by hand.',
  'core.v1.ServiceSpec.clusterIP':
    'The primary cluster address; chosen by the server if empty, None for a headless Service.',
  'core.v1.ServiceSpec.clusterIPs': 'The cluster addresses, one per family; the first equals clusterIP.',
  'core.v1.ServiceSpec.type':
    'How the Service is reached: ClusterIP, NodePort, LoadBalancer or ExternalName.',
  'core.v1.ServiceSpec.externalTrafficPolicy':
    'Whether outside traffic goes to all endpoints (Cluster) or those of the receiving node (Local).',
  'core.v1.ServiceSpec.internalTrafficPolicy':
    'Whether cluster traffic goes to all endpoints (Cluster) or those of its own node (Local).',
  'core.v1.ServiceSpec.sessionAffinity': 'ClientIP keeps one client on one endpoint.',
  'core.v1.ServiceSpec.loadBalancerSourceRanges':
    'Prefixes that may reach the load balancer address; empty means all.',
  'core.v1.ServiceSpec.publishNotReadyAddresses': 'Treat endpoints as ready whatever their pods say.',
  'core.v1.ServicePort.port': 'The port clients connect to.',
  'core.v1.ServicePort.targetPort':
    'The pod port, by number or by the name of a container port; default: port.',
  'core.v1.ServicePort.nodePort': 'The port on every node; chosen by the server if empty.',
  'core.v1.ServicePort.protocol': 'TCP, UDP or SCTP.',
  'core.v1.ServicePort.appProtocol': 'The application protocol, e.g. http or kubernetes.io/h2c.',
  'discovery.v1.EndpointSlice.addressType': 'IPv4, IPv6 or FQDN; fixed once made.',
  'discovery.v1.EndpointSlice.endpoints': 'At most 1000 endpoints.',
  'discovery.v1.EndpointSlice.ports': 'The ports every endpoint serves; an empty port number means all.',
  'discovery.v1.EndpointConditions.ready': 'Takes new connections; absent counts as true.',
  'discovery.v1.EndpointConditions.serving': 'Answers, also while terminating.',
  'discovery.v1.EndpointConditions.terminating': 'Is being shut down.',
  'discovery.v1.EndpointHints.forZones': 'Zones whose clients should use this endpoint.',
  'discovery.v1.EndpointHints.forNodes': 'Nodes whose clients should use this endpoint.',
  'networking.v1.NetworkPolicySpec.podSelector': 'The pods the policy is for; empty: all of the namespace.',
  'networking.v1.NetworkPolicySpec.policyTypes':
    'Ingress, Egress or both; default: Ingress, and Egress if there are egress rules.',
  'networking.v1.NetworkPolicySpec.ingress': 'What may come in; an empty list lets nothing in.',
  'networking.v1.NetworkPolicySpec.egress': 'What may go out; an empty list lets nothing out.',
  'networking.v1.NetworkPolicyPort.endPort': 'Last port of a range that begins at port.',
  'networking.v1.NetworkPolicyPeer.ipBlock': 'A prefix, with exceptions; stands alone.',
}
