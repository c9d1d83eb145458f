use super::*;

#[test]
fn what_a_handshake_is_told_that_was_closed() {
    let told = |cause: Cause| {
        let line = line(&Refusal::GrantEnded(cause));
        format!("{cause:?}: {}\n", line.lines().next().unwrap())
    };
    let table: String = Cause::all().map(told).collect();
    expect![[r#"
        Drain: 503 draining; retry-after: 1
        MessageTooBig: 503 closed; retry-after: 1
        FrameStalled: 503 closed; retry-after: 1
        KeyRegenerated: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        KeyExpired: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        PasswordChanged: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        TenantDisabled: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        ClosedByOwner: 503 closed; retry-after: 1
        ClosedByOperator: 503 closed; retry-after: 1
        ClientStalled: 503 closed; retry-after: 1
        ClientSilent: 503 closed; retry-after: 1
        RuntimeMoved: 503 runtime_moved; retry-after: 1
        RuntimeGone: 503 closed; retry-after: 1
        RuntimeStalled: 503 closed; retry-after: 1
        BudgetExhausted: 503 closed; retry-after: 1
        KeyRevoked: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        SessionEnded: 401 grant_ended; www-authenticate: Session realm="flowgate"
        SessionExpired: 401 grant_ended; www-authenticate: Session realm="flowgate"
        RuntimeSilent: 503 closed; retry-after: 1
        LifetimeOver: 503 closed; retry-after: 1
        ApiBlocked: 503 closed; retry-after: 1
        ApiRetired: 503 closed; retry-after: 1
        ApiUnpublished: 503 closed; retry-after: 1
        ConsumerRevoked: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        TokenExpired: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        TokenRevoked: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        SubscriptionEnded: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        SecretRegenerated: 401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
        SubscriptionBlocked: 503 closed; retry-after: 1
        Protocol(Mask): 503 closed; retry-after: 1
        Protocol(ReservedBit): 503 closed; retry-after: 1
        Protocol(Opcode): 503 closed; retry-after: 1
        Protocol(ControlLength): 503 closed; retry-after: 1
        Protocol(ControlFragment): 503 closed; retry-after: 1
        Protocol(Continuation): 503 closed; retry-after: 1
        Protocol(Length): 503 closed; retry-after: 1
    "#]]
    .assert_eq(&table);
    expect![[r#"
        401 grant_ended; www-authenticate: Basic realm="flowgate", charset="UTF-8"
            The credential is missing or wrong.
            log: grant ended: password changed
    "#]]
    .assert_eq(&line(&Refusal::GrantEnded(Cause::PasswordChanged)));
}
