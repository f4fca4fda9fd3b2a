"""KIP-848 groups: the coordinator assigns, and members follow at their own pace by heartbeats.

A group has an epoch, which grows whenever members, subscriptions or topics change; a target assignment, made by a
server-side assignor for one such epoch; and each member has an epoch of its own, the one whose target it has reached.
A partition is handed on only when the member that holds it has confirmed that it gave it up, or is fenced.
"""
