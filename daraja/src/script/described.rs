//! Descriptions of result codes, as they were seen in callbacks.

/// Returns the `ResultDesc` of a result code. Sources: logs of production (kepas-tech/daraja-js), and
/// the Daraja 3.0 portal.
pub(crate) fn described(code: &str) -> &'static str {
    match code {
        "0" => "The service request is processed successfully.",
        "1" => "The balance is insufficient for the transaction.",
        "2" => "Declined due to limit rule: less than the minimum transaction amount.",
        "21" => "The initiator is not allowed to initiate this request.",
        "25" => "The format of parameter null is invalid.",
        "1001" => "Unable to lock subscriber, a transaction is already in process for the current subscriber",
        "1019" => "Transaction expired. No MO has been received",
        "1025" | "9999" => "An error occurred while sending a push request",
        "1032" => "Request cancelled by user",
        "1037" => "No response from user.",
        "1050" => "A standing order with this name exists already",
        "2001" => "The initiator information is invalid.",
        "4001" => "User cancelled transaction",
        "4102" => "Merchant KYC Fail",
        "4104" => "Missing Nominated Number",
        "4201" => "USSD Network Error",
        "4203" => "USSD Exception Error",
        "8006" => "The security credential is locked.",
        "R000001" => "The transaction has already been reversed.",
        "R000002" => "The OriginalTransactionID is invalid.",
        "SFC_IC0003" => "Receiver party is invalid",
        _ => "The request was not carried out.",
    }
}
