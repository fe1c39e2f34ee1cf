/* SPDX-License-Identifier: MIT
 * What both sides of the control socket RUNTIME/control.sock (mode 0660) agree on: one JSON object
 * on a line asks, one answers, then the connection is closed. Requests: {"verb": "status" |
 * "reload" | "stop" | "describe"}, {"verb": "restart", "channel": NAME} and {"verb": "describe",
 * "channel": NAME}. A refusal is {"error": TEXT, "exit": EXIT CODE}.
 * Errands (manager/errand.h) are {"verb": "doctor" | "channel" | "pin" | "unpin" | "export", ...};
 * the last one is answered in two lines where it is a stream, of which the first comes with a
 * descriptor. */
#ifndef FLOTILLA_CONTROL_PROTOCOL_H
#define FLOTILLA_CONTROL_PROTOCOL_H

#define CONTROL_SOCKET            "control.sock"
#define CONTROL_LOCK              "manager.lock" /* held by a manager while it lives */
#define CONTROL_PROCESS_FILE      "manager.pid"
#define CONTROL_REQUEST_BYTES_MAX (4u << 20) /* with a schema and what JSON makes of it */
#define CONTROL_REPLY_BYTES_MAX   (64u << 20)

#endif
